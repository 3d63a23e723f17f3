// The matrix, the list and the sheet.
#include "apps/report/mistakes.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "apps/report/colors.h"
#include "apps/report/page.h"

namespace qgrad {
namespace {

using Names = std::vector<std::string>;

// `share`: of the images of the right class. Mistakes, which are few as a rule, are four times as strong.
std::string matrix_cell(int64_t images, double share, bool right) {
  if (images == 0) return "<td></td>";
  const auto opacity = static_cast<int>(40 + 140 * std::min(1.0, right ? share : 4 * share));
  return fmt::format("<td style=\"background:{}{:02x}\">{}</td>", right ? kValidationColor : kPostTrainColor, opacity,
                     images);
}

std::string matrix_row(const Names& classes, size_t right, const std::vector<int64_t>& images) {
  const auto all = static_cast<double>(std::accumulate(images.begin(), images.end(), int64_t{0}));
  std::string text = fmt::format("<tr><th scope=\"row\">{}</th>", escape_html(classes[right]));
  for (size_t taken = 0; taken < images.size(); ++taken)
    text += matrix_cell(images[taken], static_cast<double>(images[taken]) / all, right == taken);
  return text + "</tr>\n";
}

std::string matrix_of(const Names& classes, const Json& pairs) {
  std::vector<std::vector<int64_t>> images(classes.size(), std::vector<int64_t>(classes.size()));
  for (const Json& pair : pairs)
    images[pair.at("right").get<size_t>()][pair.at("taken_for").get<size_t>()] = pair.at("images");
  std::string text =
      "<div class=\"wide\"><table class=\"matrix\">\n<caption>Rows: the right class. Columns: what the quantized "
      "network "
      "takes the images for</caption>\n<thead><tr><td></td>";
  for (const std::string& name : classes) text += fmt::format("<th scope=\"col\">{}</th>", escape_html(name));
  text += "</tr></thead>\n<tbody>\n";
  for (size_t right = 0; right < classes.size(); ++right) text += matrix_row(classes, right, images[right]);
  return text + "</tbody>\n</table></div>\n";
}

Table list_of(const Names& classes, const Json& pairs) {
  using enum Table::Align;
  Table table{{{"right", left}, {"taken for", left}, {"images"}}, {}};
  for (const Json& pair : pairs)
    table.rows.push_back({classes.at(pair.at("right").get<size_t>()), classes.at(pair.at("taken_for").get<size_t>()),
                          std::to_string(pair.at("images").get<int64_t>())});
  table.caption = "The pairs of classes that the quantized network confuses most often";
  return table;
}

std::string picture(const Json& image) {
  return fmt::format(
      "<li><img src=\"data:image/png;base64,{0}\" alt=\"image {1}\"><span>image {1}: {2}</span><span>taken for "
      "{3}</span></li>\n",
      image.at("png").get<std::string>(), image.at("image").get<int64_t>(),
      escape_html(image.at("right").get<std::string>()), escape_html(image.at("taken_for").get<std::string>()));
}

}  // namespace

std::string confused_classes(const Json& confusion) {
  const auto classes = confusion.at("classes").get<Names>();
  const Json& pairs = confusion.at("pairs");
  return confusion.at("complete").get<bool>() ? matrix_of(classes, pairs) : explained_table(list_of(classes, pairs));
}

std::string lost_images_sheet(const Json& images) {
  std::string sheet;
  for (const Json& image : images.at("shown")) sheet += picture(image);
  return paragraph(
             fmt::format("The float network is right on {} images that the quantized one gets wrong; the other way "
                         "round it is {}.",
                         images.at("lost").get<int64_t>(), images.at("won").get<int64_t>())) +
         (sheet.empty() ? "" : "<ul class=\"sheet\">\n" + sheet + "</ul>\n");
}

}  // namespace qgrad
