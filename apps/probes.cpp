// One probe after another, by whoever is free.
#include "apps/probes.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/processes.h"
#include "tasks/progress.h"

namespace qgrad {

std::vector<Damage> measured(const Sensitivity& sensitivity, const std::vector<Damage>& known, const std::string& label,
                             const std::filesystem::path& folder,
                             const std::function<void(const std::vector<Damage>& so_far)>& keep) {
  const std::vector<Probe>& probes = sensitivity.probes();
  std::vector<std::optional<Damage>> found(probes.size());
  std::vector<int64_t> left;
  for (size_t i = 0; i < probes.size(); ++i) {
    const auto before = std::ranges::find(known, probes[i], &Damage::probe);
    if (before != known.end())
      found[i] = *before;
    else
      left.push_back(static_cast<int64_t>(i));
  }
  const auto there = [&] {
    std::vector<Damage> all;
    for (const auto& damage : found)
      if (damage) all.push_back(*damage);
    return all;
  };
  Progress progress(label, std::ssize(probes), "probes");
  share_work(
      folder, left, [&](int64_t i) { return to_json(sensitivity.measure(probes[static_cast<size_t>(i)])); },
      [&](int64_t i, const Json& damage) {
        found[static_cast<size_t>(i)] = damage_of(damage);
        const std::vector<Damage> so_far = there();
        keep(so_far);
        progress.update(std::ssize(so_far), probes[static_cast<size_t>(i)].layer);
      });
  return there();
}

}  // namespace qgrad
