// Padding, pipes and tags.
#include "apps/report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace qgrad {
namespace {

// In characters of UTF-8.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

std::vector<std::string> headings(const Table& table) {
  std::vector<std::string> all;
  for (const Table::Column& column : table.columns) all.push_back(column.heading);
  return all;
}

std::string markdown_row(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) {
    line += " ";
    for (const char c : cell) line += c == '|' ? std::string("\\|") : std::string(1, c);  // which would end the cell
    line += " |";
  }
  return line + "\n";
}

std::string html_cell(const Table::Column& column, const std::string& text, const Table::Bar* bar, const char* tag) {
  std::string style = column.align == Table::Align::left ? "text-align:left;" : "";
  if (bar)
    style +=
        fmt::format("background:linear-gradient(90deg,{0}44 {1:.1f}%,transparent {1:.1f}%)", bar->color, bar->percent);
  if (!style.empty()) style = fmt::format(" style=\"{}\"", style);
  // What a narrow page, which has no line of headings, shows before the cell.
  const std::string label =
      tag == std::string_view("td") ? fmt::format(" data-label=\"{}\"", escape_html(column.heading)) : "";
  return fmt::format("<{0}{1}{2}>{3}</{0}>", tag, label, style, escape_html(text));
}

}  // namespace

std::string to_text(const Table& table) {
  std::vector<std::vector<std::string>> lines = table.rows;
  if (std::ranges::any_of(table.columns, [](const auto& column) { return !column.heading.empty(); }))
    lines.insert(lines.begin(), headings(table));
  std::vector<size_t> widths(table.columns.size());
  for (const auto& cells : lines)
    for (size_t c = 0; c < cells.size(); ++c) widths[c] = std::max(widths[c], width_of(cells[c]));
  std::string text;
  for (const auto& cells : lines) {
    std::string line;
    for (size_t c = 0; c < cells.size(); ++c) {
      const std::string padding(widths[c] - width_of(cells[c]), ' ');
      line += c == 0 ? "" : "  ";
      line += table.columns[c].align == Table::Align::left ? cells[c] + padding : padding + cells[c];
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string to_markdown(const Table& table) {
  std::vector<std::string> rule;
  for (const Table::Column& column : table.columns) rule.push_back(column.align == Table::Align::left ? "---" : "---:");
  std::string text = markdown_row(headings(table)) + markdown_row(rule);
  for (const auto& cells : table.rows) text += markdown_row(cells);
  return text;
}

std::string to_html(const Table& table) {
  std::string text = "<table>\n<tr>";
  for (const Table::Column& column : table.columns) text += html_cell(column, column.heading, nullptr, "th");
  for (size_t row = 0; row < table.rows.size(); ++row) {
    text += "</tr>\n<tr>";
    for (size_t c = 0; c < table.columns.size(); ++c) {
      const Table::Column& column = table.columns[c];
      text += html_cell(column, table.rows[row][c], column.bars.empty() ? nullptr : &column.bars[row], "td");
    }
  }
  return text + "</tr>\n</table>\n";
}

std::string escape_html(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else if (c == '&')
      safe += "&amp;";
    else if (c == '"')
      safe += "&quot;";
    else
      safe += c;
  }
  return safe;
}

}  // namespace qgrad
