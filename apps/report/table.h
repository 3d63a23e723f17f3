// Tables of results: a value, and four ways to print it.
#pragma once

#include <string>
#include <vector>

namespace qgrad {

struct Table {
  enum class Align { left, right };
  struct Bar {
    double percent = 0;
    std::string color;
  };
  struct Column {
    std::string heading;
    Align align = Align::right;
    std::vector<Bar> bars = {};  // behind the cells, in HTML alone; empty: none
  };
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;  // a cell for each column
  std::string caption = "";                    // in HTML alone
};

// Lines of a terminal, columns two spaces apart; without headings where all are empty.
std::string to_text(const Table& table);
std::string to_markdown(const Table& table);
std::string to_csv(const Table& table);   // RFC 4180, but for the ends of lines
std::string to_html(const Table& table);  // a <table>, whose columns can be sorted on a page (page.h)

// For text between the tags of HTML and SVG, and for attributes in double quotes.
std::string escape_html(const std::string& text);

}  // namespace qgrad
