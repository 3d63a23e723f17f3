// What the documents say is so: pictures, keys and defaults of quantizers, and what links and commands name.
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "core/file.h"
#include "docs/quantizers/pictures.h"
#include "docs/studies/frontier.h"
#include "quant/quantizer.h"
#include "support/catch.h"

using namespace qgrad;

namespace {

namespace fs = std::filesystem;
const fs::path kRoot = QGRAD_SOURCE_DIR, kPages = kRoot / "docs/quantizers";

std::string document(const fs::path& file) { return read_file(file, "a document"); }

std::vector<std::smatch> matches(const std::string& text, const std::regex& pattern) {
  return {std::sregex_iterator(text.begin(), text.end(), pattern), std::sregex_iterator()};
}

std::vector<fs::path> documents() {
  std::vector<fs::path> files{kRoot / "README.md", kRoot / "CONTRIBUTING.md", kRoot / "CHANGELOG.md"};
  for (const char* folder : {"docs", "examples"})
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(kRoot / folder))
      if (entry.path().extension() == ".md") files.push_back(entry.path());
  return files;
}

// Rows "| `key` | `default` | ..": what a page says of a quantizer's keys.
std::map<std::string, std::string> keys_in(const std::string& page) {
  static const std::regex row(R"(\n\| `(\w+)` \| `([^`]*)` \|)");
  std::map<std::string, std::string> keys;
  for (const std::smatch& match : matches(page, row)) keys[match[1]] = match[2];
  return keys;
}

// Of a class, as its config resolves.
std::map<std::string, std::string> keys_of_class(const std::string& name) {
  std::map<std::string, std::string> keys;
  const Json resolved = Registry<Quantizer>::resolve({{{"class", name}}, "", ""});
  for (const auto& [key, value] : resolved.items())
    if (key != "class") keys[key] = json_line(value);
  return keys;
}

// The class that a page is about is the first thing in it that is code.
std::string class_in(const std::string& page) {
  std::smatch match;
  REQUIRE(std::regex_search(page, match, std::regex("`(\\w+Quantizer)`")));
  return match[1];
}

}  // namespace

TEST_CASE("the pictures of quantizers are what draw_pictures makes", "[documents]") {
  const auto pictures = quantizer_pictures();
  for (const auto& [file, svg] : pictures) {
    INFO(file);
    REQUIRE(fs::exists(kPages / file));
    CHECK((document(kPages / file) == svg));  // without printing both
    CHECK(svg.size() < 10'000);
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(kPages))
    if (entry.path().extension() == ".svg") CHECK(pictures.contains(entry.path().filename().string()));
}

TEST_CASE("the picture of the studies is the one that their results make", "[documents]") {
  CHECK((document(kRoot / "docs/studies/frontier.svg") == frontier_picture(kRoot / "docs/studies")));
}

TEST_CASE("every quantizer has a page with all of its keys and their defaults", "[documents]") {
  const std::map<std::string, std::string> common = keys_in(document(kPages / "README.md"));
  CHECK(common.size() > 5);
  std::set<std::string> described;
  for (const fs::directory_entry& entry : fs::directory_iterator(kPages)) {
    const std::string file = entry.path().filename().string();
    if (entry.path().extension() != ".md" || file == "README.md" || file.starts_with("clip_")) continue;
    INFO(file);
    const std::string page = document(entry.path()), name = class_in(page);
    described.insert(name);
    std::map<std::string, std::string> said = keys_in(page);
    const std::map<std::string, std::string> all = keys_of_class(name);
    if (Registry<Quantizer>::create({{{"class", name}}, "", ""})->trains()) said.insert(common.begin(), common.end());
    CHECK(said == all);
  }
  for (const std::string& name : Registry<Quantizer>::instance().names())
    if (keys_of_class(name).contains("overrides")) CHECK(described.contains(name));
}

TEST_CASE("the README names every quantizer", "[documents]") {
  const std::string readme = document(kRoot / "README.md");
  for (const std::string& name : Registry<Quantizer>::instance().names()) {
    INFO(name);
    if (keys_of_class(name).contains("overrides")) CHECK(readme.find("`" + name + "`") != std::string::npos);
  }
}

TEST_CASE("every clip mode has a page", "[documents]") {
  for (const auto& [name, mode] : enum_names(static_cast<ClipMode*>(nullptr))) {
    std::string file = "clip_" + name + ".md";
    std::ranges::transform(file, file.begin(), [](unsigned char c) { return std::tolower(c); });
    INFO(file);
    CHECK(document(kPages / file).find("`" + name + "`") != std::string::npos);
  }
}

TEST_CASE("links of documents lead to files, and to headings within them", "[documents]") {
  static const std::regex link(R"(\]\(([^)#:]*)(#[^)]*)?\))"), heading(R"((^|\n)#+ ([^\n]+))");
  int links = 0;
  for (const fs::path& file : documents())
    for (const std::string text = document(file); const std::smatch& match : matches(text, link)) {
      INFO(file.string() << ": " << match[0]);
      ++links;
      const fs::path target = match[1].length() ? file.parent_path() / match[1].str() : file;
      CHECK(fs::exists(target));
      if (!match[2].matched || !fs::exists(target)) continue;
      std::set<std::string> anchors;
      for (const std::string there = document(target); const std::smatch& title : matches(there, heading)) {
        std::string anchor = "#";
        for (const char c : title[2].str())
          if (std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_')
            anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
          else if (c == ' ')
            anchor += '-';
        anchors.insert(anchor);
      }
      CHECK(anchors.contains(match[2]));
    }
  CHECK(links > 100);
}

TEST_CASE("files of the tree that documents name are there", "[documents]") {
  static const std::regex path(R"(`((\w+/)+[\w.-]+\.(cpp|h|inl|sh|md|py|mjs|json))`)");
  int paths = 0;
  for (const fs::path& file : documents())
    for (const std::string text = document(file); const std::smatch& match : matches(text, path)) {
      INFO(file.string() << ": " << match[1]);
      const fs::path named = match[1].str();
      const std::string first = named.begin()->string();
      if (first == "out" || first == "include") continue;  // what a command wrote, or installed
      ++paths;
      CHECK((fs::exists(kRoot / named) || fs::exists(file.parent_path() / named)));
    }
  CHECK(paths > 100);
}

TEST_CASE("configs that documents name are there", "[documents]") {
  static const std::regex config(R"((^|[\s`(])((configs|examples)/[\w/]+\.json))");
  for (const fs::path& file : documents())
    for (const std::string text = document(file); const std::smatch& match : matches(text, config)) {
      INFO(file.string() << ": " << match[2]);
      CHECK(fs::exists(kRoot / match[2].str()));
    }
}
