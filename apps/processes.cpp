// One process, or the ranks of MPI_COMM_WORLD.
#include "apps/processes.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "core/error.h"
#include "core/parallel.h"
#include "tasks/progress.h"
#include "tasks/stop_signals.h"
#include "tasks/training_state.h"

#ifdef QGRAD_MPI
#include <mpi.h>
#endif

namespace qgrad {
namespace {

void do_alone(const std::vector<int64_t>& pieces, const Work& work, const Done& done) {
  for (const int64_t piece : pieces) done(piece, work(piece));
}

// By Open MPI, by MPICH and what is made of it, by Slurm with PMIx.
bool started_with_others() {
  const auto is_several = [](const char* variable) {
    const char* count = std::getenv(variable);
    return count && std::atoi(count) > 1;
  };
  return is_several("OMPI_COMM_WORLD_SIZE") || is_several("PMI_SIZE") || is_several("MV2_COMM_WORLD_SIZE") ||
         (std::getenv("PMIX_RANK") && is_several("SLURM_STEP_NUM_TASKS"));
}

}  // namespace

#ifdef QGRAD_MPI
namespace {

enum Tag { kWork = 1, kAnswer, kFirstIsThere, kFirstRound };

constexpr auto kNap = std::chrono::milliseconds(3);

// Who has sent something that is not received yet.
std::optional<int> sender_of_message(int from, Tag tag) {
  int there = 0;
  MPI_Status status;
  MPI_Iprobe(from, tag, MPI_COMM_WORLD, &there, &status);
  return there ? std::optional(status.MPI_SOURCE) : std::nullopt;
}

// Without keeping a core busy, which MPI_Recv does.
void wait_for_message(int from, Tag tag) {
  while (!sender_of_message(from, tag)) std::this_thread::sleep_for(kNap);
}

class MpiRanks final : public Ranks {
 public:
  using Ranks::Ranks;

 private:
  // In memory of its own until it has arrived.
  struct Sent {
    std::vector<std::byte> bytes;
    MPI_Request request;
  };
  // Rounds that are open at once have different tags; every MPI has 32,767.
  static int tag_of(int64_t round) { return kFirstRound + static_cast<int>(round % 16384); }
  static int size_of(std::span<const std::byte> bytes) {
    check(bytes.size() <= INT_MAX, "ranks: a sum of {} bytes is more than MPI sends at once", bytes.size());
    return static_cast<int>(bytes.size());
  }

  void send(int to, int64_t round, std::span<const std::byte> bytes) override {
    sent_.remove_if([](Sent& sent) {
      int done = 0;
      MPI_Test(&sent.request, &done, MPI_STATUS_IGNORE);
      return done != 0;
    });
    Sent& sent = sent_.emplace_back();
    sent.bytes.assign(bytes.begin(), bytes.end());
    MPI_Isend(sent.bytes.data(), size_of(bytes), MPI_BYTE, to, tag_of(round), MPI_COMM_WORLD, &sent.request);
  }
  bool receive(int from, int64_t round, std::span<std::byte> bytes) override {
    int there = 0, size = 0;
    MPI_Message message;
    MPI_Status status;
    MPI_Improbe(from, tag_of(round), MPI_COMM_WORLD, &there, &message, &status);
    if (!there) return false;
    MPI_Get_count(&status, MPI_BYTE, &size);
    check(size == size_of(bytes),
          "rank {} sent {} bytes where {} were expected: the ranks do not run the same training", from, size,
          bytes.size());
    MPI_Mrecv(bytes.data(), size, MPI_BYTE, &message, MPI_STATUS_IGNORE);
    return true;
  }

  std::list<Sent> sent_;
};

struct World {
  bool joined = false;
  int rank = 0, count = 1;
  std::optional<MpiRanks> ranks;
};
World& world() {
  static World instance;
  return instance;
}

// What a process that is free sends: the piece that it has done, or -1, and the result; or that it stops, and the
// signal.
constexpr int64_t kNothing = -1, kStops = -2;

struct Report {
  int64_t piece;
  std::string result;
};

void send_report(const Report& report) {
  std::string text(reinterpret_cast<const char*>(&report.piece), sizeof report.piece);
  text += report.result;
  MPI_Send(text.data(), static_cast<int>(text.size()), MPI_BYTE, 0, kWork, MPI_COMM_WORLD);
}

Report receive_report(int from) {
  MPI_Status status;
  MPI_Probe(from, kWork, MPI_COMM_WORLD, &status);
  int size = 0;
  MPI_Get_count(&status, MPI_BYTE, &size);
  std::string text(static_cast<size_t>(size), '\0');
  MPI_Recv(text.data(), size, MPI_BYTE, from, kWork, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  Report report;
  check(text.size() >= sizeof report.piece, "process {} reports {} bytes", from, text.size());
  std::copy_n(text.data(), sizeof report.piece, reinterpret_cast<char*>(&report.piece));
  report.result = text.substr(sizeof report.piece);
  return report;
}

// The first process works as well; meanwhile one of its threads hands out pieces to the others and takes their results.
class Foreman {
 public:
  Foreman(const std::filesystem::path& folder, const std::vector<int64_t>& pieces, const Done& done)
      : folder_(folder), pieces_(pieces), done_(done), left_(world().count - 1) {
    others_ = std::thread([this] { serve(); });
  }
  // After an error: without waiting for what others have in hand, for it ends all processes.
  ~Foreman() {
    gone_ = true;
    if (others_.joinable()) others_.join();
  }
  int64_t next() {
    const size_t at = next_.fetch_add(1);
    return no_more_ || at >= pieces_.size() ? kNothing : pieces_[at];
  }
  void done(int64_t piece, const Json& result) {
    const std::lock_guard lock(mutex_);
    done_(piece, result);
  }
  void give_no_more() { no_more_ = true; }
  // Until the others have nothing in hand; what they have they finish, or stop in it if they are asked to.
  void wait(int own_signal) {
    {
      const StopSignals signals;
      while (left_ > 0) {
        if (StopSignals::received()) own_signal = StopSignals::received();
        if (own_signal) no_more_ = true;
        std::this_thread::sleep_for(kNap);
      }
    }
    others_.join();
    if (error_) std::rethrow_exception(error_);
    const int signal = own_signal ? own_signal : signal_.load();
    if (signal) throw Stopped("with pieces of work unfinished", folder_.string(), signal);
  }

 private:
  void serve() {
    while (left_ > 0 && !gone_) {
      if (const auto from = sender_of_message(MPI_ANY_SOURCE, kWork))
        answer(*from);
      else
        std::this_thread::sleep_for(kNap);
    }
  }

  void answer(int from) {
    const Report report = receive_report(from);
    if (report.piece == kStops) {
      signal_ = std::stoi(report.result);
      no_more_ = true;
      --left_;
      return;
    }
    try {
      if (report.piece >= 0) done(report.piece, Json::parse(report.result));
    } catch (...) {
      if (!error_) error_ = std::current_exception();
      no_more_ = true;
    }
    const int64_t piece = next();
    MPI_Send(&piece, 1, MPI_INT64_T, from, kAnswer, MPI_COMM_WORLD);
    left_ -= piece == kNothing;
  }

  const std::filesystem::path& folder_;
  const std::vector<int64_t>& pieces_;
  const Done& done_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> no_more_{false}, gone_{false};
  std::atomic<int> left_, signal_{0};  // others that may still have a piece; a signal that one has stopped for
  std::mutex mutex_;
  std::exception_ptr error_;
  std::thread others_;  // last, for it uses all the others
};

void work_for_first(const std::filesystem::path& folder, const Work& work) {
  for (Report report{kNothing, {}};;) {
    send_report(report);
    int signal = 0;
    {
      const StopSignals signals;
      wait_for_message(0, kAnswer);
      signal = StopSignals::received();
    }
    int64_t piece;
    MPI_Recv(&piece, 1, MPI_INT64_T, 0, kAnswer, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (piece < 0) return;
    try {
      if (signal) throw Stopped("before a piece of work", folder.string(), signal);
      report = {piece, work(piece).dump()};
    } catch (const Stopped& stopped) {
      send_report({kStops, std::to_string(stopped.exit_status() - 128)});
      throw;
    }
  }
}

}  // namespace

void join_processes() {
  World& w = world();
  if (w.joined || !started_with_others()) return;
  int threads = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &threads);
  w.joined = true;
  MPI_Comm_rank(MPI_COMM_WORLD, &w.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &w.count);
  if (w.count == 1) return;
  set_quiet(w.rank > 0);
  if (w.rank > 0 && !std::freopen("/dev/null", "w", stdout)) fail("/dev/null: cannot open");
  check(threads >= MPI_THREAD_SERIALIZED, "MPI: this one can not be used with threads");
  MPI_Comm machine;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, w.rank, MPI_INFO_NULL, &machine);
  int here = 1;
  MPI_Comm_size(machine, &here);
  MPI_Comm_free(&machine);
  // Where mpirun has not given each process cores of its own.
  const int cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  set_num_threads(std::max(1, std::min(num_threads(), cores / here)));
}

int process_count() { return world().count; }
bool is_first_process() { return world().rank == 0; }

Ranks* training_ranks() {
  World& w = world();
  if (w.count == 1) return nullptr;
  if (!w.ranks) w.ranks.emplace(w.rank, w.count);
  return &*w.ranks;
}

void share_work(const std::filesystem::path& folder, const std::vector<int64_t>& pieces, const Work& work,
                const Done& done) {
  if (process_count() == 1) return do_alone(pieces, work, done);
  if (!is_first_process()) return work_for_first(folder, work);
  Foreman foreman(folder, pieces, done);
  int signal = 0;
  try {
    for (int64_t piece; (piece = foreman.next()) >= 0;) foreman.done(piece, work(piece));
  } catch (const Stopped& stopped) {
    foreman.give_no_more();
    signal = stopped.exit_status() - 128;
  }
  foreman.wait(signal);
}

void check_alike(const Json& config, const Json& facts, const Json& state) {
  if (process_count() == 1) return;
  Json own{{"config", config}, {"run", facts}, {"state", state}};
  own["config"]["data"]["dataset"].erase("dir");
  own["run"].erase("instruction_set");
  std::string text = own.dump();
  uint64_t size = text.size();
  MPI_Bcast(&size, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
  text.resize(size);
  MPI_Bcast(text.data(), static_cast<int>(size), MPI_BYTE, 0, MPI_COMM_WORLD);
  const std::vector<std::string> differences = config_differences(Json::parse(text), own);
  check(differences.empty(), "process {} does not run what the first one runs: {}", world().rank,
        fmt::join(differences, "; "));
  MPI_Barrier(MPI_COMM_WORLD);  // nothing is written before all are
}

void wait_for_first_process() {
  for (int other = 1; is_first_process() && other < process_count(); ++other)
    MPI_Send(nullptr, 0, MPI_BYTE, other, kFirstIsThere, MPI_COMM_WORLD);
  if (is_first_process()) return;
  wait_for_message(0, kFirstIsThere);
  MPI_Recv(nullptr, 0, MPI_BYTE, 0, kFirstIsThere, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

void leave_processes() {
  if (!world().joined) return;
  wait_for_first_process();
  MPI_Finalize();
}

void stop_processes(int status) {
  if (world().count == 1) return;
  wait_for_first_process();
  std::fflush(nullptr);
  _exit(status);
}

void end_processes(int status) {
  if (world().joined) MPI_Abort(MPI_COMM_WORLD, status);
}

#else

void join_processes() {
  check(!started_with_others(),
        "this build of qgrad has no MPI, so that processes do not share their work: configure it with -DQGRAD_MPI=ON");
}
int process_count() { return 1; }
bool is_first_process() { return true; }
Ranks* training_ranks() { return nullptr; }
void share_work(const std::filesystem::path&, const std::vector<int64_t>& pieces, const Work& work, const Done& done) {
  do_alone(pieces, work, done);
}
void check_alike(const Json&, const Json&, const Json&) {}
void wait_for_first_process() {}
void leave_processes() {}
void stop_processes(int) {}
void end_processes(int) {}

#endif

std::unique_ptr<OutputFolder> shared_folder(const std::filesystem::path& path) {
  return is_first_process() ? std::make_unique<OutputFolder>(path)
                            : std::make_unique<OutputFolder>(path, OutputFolder::LockedByFirst::yes);
}

}  // namespace qgrad
