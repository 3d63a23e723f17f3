// One table as lines of a terminal, in Markdown and in HTML.
#include "apps/report/table.h"

#include "support/catch.h"

using namespace qgrad;

namespace {

Table example() {
  using enum Table::Align;
  return {{{"row", left}, {"top-1 %", right, {{92.5, "#112233"}, {9, "#445566"}}}, {"by", left}},
          {{"a < b", "92.50 ± 0.10", ""}, {"float", "9.00", "x"}}};
}

}  // namespace

TEST_CASE("columns of text are as wide as their widest cell, in characters, and no line ends in spaces") {
  CHECK(to_text(example()) ==
        "row         top-1 %  by\n"
        "a < b  92.50 ± 0.10\n"
        "float          9.00  x\n");
}

TEST_CASE("a table without headings has no line for them") {
  CHECK(to_text({{{"", Table::Align::left}, {""}}, {{"case", "conv"}, {"a", "1.5"}}}) == "case  conv\na      1.5\n");
}

TEST_CASE("Markdown says the columns' alignment") {
  CHECK(to_markdown(example()) ==
        "| row | top-1 % | by |\n"
        "| --- | ---: | --- |\n"
        "| a &lt; b | 92.50 ± 0.10 |  |\n"
        "| float | 9.00 | x |\n");
}

TEST_CASE("a cell of Markdown ends with itself, and holds no HTML") {
  CHECK(to_markdown({{{"a|b", Table::Align::left}}, {{"c|d"}}}) == "| a\\|b |\n| --- |\n| c\\|d |\n");
  CHECK(to_markdown({{{"a\\|", Table::Align::left}}, {{"c\r\nd"}}}) == "| a\\\\\\| |\n| --- |\n| c  d |\n");
  CHECK(to_markdown({{{"<img>", Table::Align::left}}, {{"&lt;"}}}) == "| &lt;img> |\n| --- |\n| &amp;lt; |\n");
}

TEST_CASE("HTML escapes what the cells hold and draws bars behind the cells of their column") {
  const std::string html = to_html(example());
  CHECK_THAT(html, Contains("<th scope=\"row\" class=\"left\">a &lt; b</th>"));
  CHECK_THAT(html, Contains("linear-gradient(90deg,#44556644 9.0%,transparent 9.0%)\">9.00</td>"));
  CHECK_THAT(html, Contains("<td class=\"left\" data-label=\"by\">x</td>"));
}

TEST_CASE("a row's heading that is a number says of what") {
  CHECK_THAT(to_html({{{"epoch"}}, {{"7"}}}), Contains("<th scope=\"row\" data-label=\"epoch\">7</th>"));
}

TEST_CASE("a heading of HTML says what it means, where it is a known term") {
  Table table = example();
  table.caption = "5 < 6";
  const std::string html = to_html(table);
  CHECK_THAT(html, Contains("<th scope=\"col\"><abbr title=\"how often the class with the largest output is the right "
                            "one\">top-1 %</abbr></th>"));
  CHECK_THAT(html, Contains("<th scope=\"col\" class=\"left\">by</th>"));
  CHECK_THAT(html, Contains("<caption>5 &lt; 6</caption>"));
}

TEST_CASE("CSV quotes the cells that would end themselves") {
  CHECK(to_csv({{{"a", Table::Align::left}, {"b"}}, {{"x, y", "1"}, {"says \"z\"", ""}}}) ==
        "a,b\n\"x, y\",1\n\"says \"\"z\"\"\",\n");
}
