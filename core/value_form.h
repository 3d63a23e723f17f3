// What config.h needs to know of each type of value; its users need not read this.
#pragma once

#include "core/config.h"

namespace qgrad::detail {

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};
template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};

template <class T>
concept PlainValue =
    std::is_arithmetic_v<T> || std::same_as<T, std::string> || std::same_as<T, Json> || std::same_as<T, Config>;

template <PlainValue T>
const ValueForm& plain_form();  // of the types below
extern template const ValueForm& plain_form<bool>();
extern template const ValueForm& plain_form<int8_t>();
extern template const ValueForm& plain_form<int32_t>();
extern template const ValueForm& plain_form<int64_t>();
extern template const ValueForm& plain_form<uint32_t>();
extern template const ValueForm& plain_form<uint64_t>();
extern template const ValueForm& plain_form<float>();
extern template const ValueForm& plain_form<double>();
extern template const ValueForm& plain_form<std::string>();
extern template const ValueForm& plain_form<Json>();
extern template const ValueForm& plain_form<Config>();

class EnumForm : public ValueForm {
  void read(const Config& from, void* value, const Field& field) const final;
  void write(const void* value, Json& to) const final;
  void schema(const void* value, const Field& field, Json& to) const final;
  virtual std::vector<std::pair<std::string, int>> names() const = 0;
  virtual int get(const void* value) const = 0;
  virtual void set(void* value, int to) const = 0;
};
template <NamedEnum E>
class EnumFormOf final : public EnumForm {
  std::vector<std::pair<std::string, int>> names() const override {
    std::vector<std::pair<std::string, int>> names;
    for (auto& [name, e] : enum_names(static_cast<E*>(nullptr))) names.emplace_back(name, static_cast<int>(e));
    return names;
  }
  int get(const void* value) const override { return static_cast<int>(*static_cast<const E*>(value)); }
  void set(void* value, int to) const override { *static_cast<E*>(value) = static_cast<E>(to); }
};

class OptionalForm : public ValueForm {
 public:
  constexpr OptionalForm(const ValueForm& (*inner)(), bool knows_absent) : inner_(inner), knows_absent_(knows_absent) {}

 private:
  void read(const Config& from, void* value, const Field& field) const final;
  void write(const void* value, Json& to) const final;
  void schema(const void* value, const Field& field, Json& to) const final;
  bool is_written(const void* value) const final { return !knows_absent_ || get(value); }
  virtual const void* get(const void* optional) const = 0;  // null: nullopt
  virtual void* emplace(void* optional) const = 0;
  virtual void reset(void* optional) const = 0;
  virtual void inner_schema(const Field& field, Json& to) const = 0;  // of a fresh one

  const ValueForm& (*inner_)();
  bool knows_absent_;  // an optional of an optional: null is a value
};
template <class T>
class OptionalFormOf final : public OptionalForm {
 public:
  constexpr OptionalFormOf() : OptionalForm(form_of<T>, is_optional<T>::value) {}

 private:
  using Optional = std::optional<T>;
  const void* get(const void* optional) const override {
    const auto& o = *static_cast<const Optional*>(optional);
    return o ? &*o : nullptr;
  }
  void* emplace(void* optional) const override { return &static_cast<Optional*>(optional)->emplace(); }
  void reset(void* optional) const override { static_cast<Optional*>(optional)->reset(); }
  void inner_schema(const Field& field, Json& to) const override {
    const T fresh{};
    form_of<T>().schema(&fresh, field, to);
  }
};

class ListForm : public ValueForm {
 public:
  constexpr explicit ListForm(const ValueForm& (*element)()) : element_(element) {}

 private:
  void read(const Config& from, void* value, const Field& field) const final;
  void write(const void* value, Json& to) const final;
  void schema(const void* value, const Field& field, Json& to) const final;
  virtual size_t size(const void* list) const = 0;
  virtual const void* at(const void* list, size_t i) const = 0;
  virtual void clear(void* list) const = 0;
  virtual void* append(void* list) const = 0;
  virtual void element_schema(const Field& field, Json& to) const = 0;

  const ValueForm& (*element_)();
};
template <class T>
class ListFormOf final : public ListForm {
 public:
  constexpr ListFormOf() : ListForm(form_of<T>) {}

 private:
  using List = std::vector<T>;
  size_t size(const void* list) const override { return static_cast<const List*>(list)->size(); }
  const void* at(const void* list, size_t i) const override { return &(*static_cast<const List*>(list))[i]; }
  void clear(void* list) const override { static_cast<List*>(list)->clear(); }
  void* append(void* list) const override { return &static_cast<List*>(list)->emplace_back(); }
  void element_schema(const Field& field, Json& to) const override {
    const T fresh{};
    form_of<T>().schema(&fresh, field, to);
  }
};

template <CustomValue T>
class CustomForm final : public ValueForm {
  void read(const Config& from, void* value, const Field&) const override { read_value(from, *static_cast<T*>(value)); }
  void write(const void* value, Json& to) const override { write_value(*static_cast<const T*>(value), to); }
  void schema(const void* value, const Field&, Json& to) const override {
    value_schema(*static_cast<const T*>(value), to);
  }
};

class StructForm : public ValueForm {
 public:
  virtual void list(Fields& v, void* value) const = 0;

 private:
  void read(const Config& from, void* value, const Field& field) const final;
  void write(const void* value, Json& to) const final;
  void schema(const void* value, const Field& field, Json& to) const final;
};
template <HasFields T>
class StructFormOf final : public StructForm {
  void list(Fields& v, void* value) const override { fields(v, *static_cast<T*>(value)); }
};

template <class T>
const ValueForm& form_of() {
  if constexpr (PlainValue<T>) {
    return plain_form<T>();
  } else if constexpr (is_optional<T>::value) {
    static constexpr OptionalFormOf<typename T::value_type> form;
    return form;
  } else if constexpr (is_vector<T>::value) {
    static constexpr ListFormOf<typename T::value_type> form;
    return form;
  } else if constexpr (NamedEnum<T>) {
    static constexpr EnumFormOf<T> form;
    return form;
  } else if constexpr (CustomValue<T>) {
    static constexpr CustomForm<T> form;
    return form;
  } else {
    static_assert(HasFields<T>, "a config member needs fields(), enum_names(), read_value(), or a plain JSON type");
    static constexpr StructFormOf<T> form;
    return form;
  }
}

}  // namespace qgrad::detail
