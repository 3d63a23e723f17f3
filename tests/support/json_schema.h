// JSON documents against the part of JSON Schema (draft 2020-12) that `qgrad schema` writes.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/json.h"

namespace qgrad::test {

class JsonSchema {
 public:
  explicit JsonSchema(Json schema) : schema_(std::move(schema)) {}

  // "train.epochs: not of type integer", or "" where the document is valid. Throws for a keyword that is not known
  // here.
  std::string violation(const Json& document) const;
  // Places in a document of which the schema says nothing but that they may be there.
  std::vector<std::string> open_places(const Json& document) const;

 private:
  std::string violation(const Json& schema, const Json& value, const std::string& at) const;
  std::string violation_of(const std::string& keyword, const Json& schema, const Json& value,
                           const std::string& at) const;
  std::string members_violation(const Json& schema, const Json& value, const std::string& at) const;
  std::string choice_violation(const Json& choices, const Json& value, const std::string& at, bool only_one) const;
  void find_open(const Json& schema, const Json& value, const std::string& at, std::vector<std::string>& open) const;
  const Json& referred(const Json& schema) const;

  Json schema_;
};

}  // namespace qgrad::test
