// Padding, pipes and tags.
#include "apps/report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "apps/report/terms.h"

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

// Of text that would end the cell, or be taken for HTML.
std::string in_markdown(char c) {
  switch (c) {
    case '|':
      return "\\|";
    case '\\':
      return "\\\\";
    case '<':
      return "&lt;";
    case '&':
      return "&amp;";
    case '\n':
    case '\r':
      return " ";
    default:
      return {c};
  }
}

std::string markdown_row(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) {
    line += " ";
    for (const char c : cell) line += in_markdown(c);
    line += " |";
  }
  return line + "\n";
}

std::string csv_row(const std::vector<std::string>& cells) {
  std::string line;
  for (const std::string& cell : cells) {
    line += &cell == &cells[0] ? "" : ",";
    if (cell.find_first_of(",\"\r\n") == std::string::npos) {
      line += cell;
      continue;
    }
    line += '"';
    for (const char c : cell) line += c == '"' ? std::string("\"\"") : std::string(1, c);
    line += '"';
  }
  return line + "\n";
}

// With what the heading means, for who points at it.
std::string html_heading(const Table::Column& column) {
  const std::string explanation = explanation_of(column.heading);
  const std::string text = escape_html(column.heading);
  return fmt::format(
      "<th scope=\"col\"{}>{}</th>", column.align == Table::Align::left ? " class=\"left\"" : "",
      explanation.empty() ? text : fmt::format("<abbr title=\"{}\">{}</abbr>", escape_html(explanation), text));
}

// The first of a row is its heading. data-label: what a narrow page, which has no line of headings, shows before it;
// before a row's heading where that is a number.
std::string html_cell(const Table& table, size_t row, size_t c) {
  const Table::Column& column = table.columns[c];
  const std::string text = escape_html(table.rows[row][c]);
  const char* left = column.align == Table::Align::left ? " class=\"left\"" : "";
  const std::string label = fmt::format(" data-label=\"{}\"", escape_html(column.heading));
  if (c == 0) return fmt::format("<th scope=\"row\"{}>{}</th>", *left ? left : label, text);
  std::string style;
  if (!column.bars.empty())
    style = fmt::format(" style=\"background:linear-gradient(90deg,{0}44 {1:.1f}%,transparent {1:.1f}%)\"",
                        column.bars[row].color, column.bars[row].percent);
  return fmt::format("<td{}{}{}>{}</td>", left, label, style, text);
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

std::string to_csv(const Table& table) {
  std::string text = csv_row(headings(table));
  for (const auto& cells : table.rows) text += csv_row(cells);
  return text;
}

std::string to_html(const Table& table) {
  std::string text = "<table>\n";
  if (!table.caption.empty()) text += fmt::format("<caption>{}</caption>\n", escape_html(table.caption));
  text += "<thead><tr>";
  for (const Table::Column& column : table.columns) text += html_heading(column);
  text += "</tr></thead>\n<tbody>\n";
  for (size_t row = 0; row < table.rows.size(); ++row) {
    text += "<tr>";
    for (size_t c = 0; c < table.columns.size(); ++c) text += html_cell(table, row, c);
    text += "</tr>\n";
  }
  return text + "</tbody>\n</table>\n";
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
