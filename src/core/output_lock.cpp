#include "gda/core/output_lock.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/log.h"

namespace gda {
namespace fs = std::filesystem;
namespace {

std::string first_line(const fs::path& path) {
  std::ifstream stream(path);
  std::string line;
  std::getline(stream, line);
  return line;
}

// Where process numbers mean something: this boot of this host, and its namespace of processes.
std::string process_space() {
  std::error_code ignored;
  const std::string space = fs::read_symlink("/proc/self/ns/pid", ignored).string();
  return first_line("/proc/sys/kernel/random/boot_id") + " " + space;
}

// When a process began, in ticks since the host was booted; empty if there is none, or one that has
// ended and is not yet collected. Its name, in parentheses, may hold spaces; the words after it
// begin with its state, and the 20th is the time.
std::string beginning_of(pid_t pid) {
  const std::string stat = first_line(fmt::format("/proc/{}/stat", pid));
  const std::size_t end = stat.rfind(')');
  if (end == std::string::npos) return {};
  std::istringstream words(stat.substr(end + 1));
  constexpr int kPlace = 20;
  std::string word;
  words >> word;
  if (word == "Z" || word == "X") return {};
  for (int i = 1; i < kPlace; ++i) words >> word;
  return word;
}

std::string command_line() {
  std::ifstream stream("/proc/self/cmdline", std::ios::binary);
  std::string text;
  for (std::string word; std::getline(stream, word, '\0');) {
    text += (text.empty() ? "" : " ") + word;
  }
  for (char& c : text) c = c == '\n' ? ' ' : c;
  return text;
}

std::string description_of_this_process() {
  const auto now =
      std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  static std::atomic<int> count{0};  // tells the locks of one process apart
  return fmt::format(
      "host: {}\npid: {}\nbegun: {}\nspace: {}\nsince: {:%Y-%m-%d %H:%M:%S} UTC\nnumber: {}\n"
      "command: {}\n",
      host_name(), ::getpid(), beginning_of(::getpid()), process_space(), fmt::gmtime(now), count++,
      command_line());
}

struct Holder {
  std::string text;
  std::map<std::string, std::string> fields;
  timespec changed{};  // by the file system's clock

  std::string get(const std::string& key) const {
    const auto found = fields.find(key);
    return found == fields.end() ? "?" : found->second;
  }
  pid_t pid() const { return static_cast<pid_t>(std::strtol(get("pid").c_str(), nullptr, 10)); }
  std::string str() const {
    return fmt::format("process {} of host {}, since {} ({})", get("pid"), get("host"),
                       get("since"), get("command"));
  }
  // Of a file that is open: network file systems look at the server then.
  bool is_alive_as(const Holder& other) const {
    return text == other.text && changed.tv_sec == other.changed.tv_sec &&
           changed.tv_nsec == other.changed.tv_nsec;
  }
};

// Nothing if there is no such file any more.
std::optional<Holder> read_holder(const fs::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  Holder holder;
  struct stat facts {};
  if (::fstat(fd, &facts) == 0) holder.changed = facts.st_mtim;
  std::array<char, 4096> block{};
  for (ssize_t n = 0; (n = ::read(fd, block.data(), block.size())) > 0;) {
    holder.text.append(block.data(), static_cast<std::size_t>(n));
  }
  ::close(fd);
  std::istringstream lines(holder.text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) holder.fields[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return holder;
}

[[noreturn]] void refuse(const fs::path& file, const std::string& what, const Holder& holder) {
  fail<ConfigError>(
      "{} is in use by {}; wait for it, end it, or choose another place. If that process is gone, "
      "remove {}",
      what, holder.str(), file.string());
}

// Waits for a sign of life of a holder whose process cannot be asked.
void watch(const fs::path& file, const std::string& what, const Holder& holder) {
  log::warning("{} is held by {}: watching for a sign of life, for up to {} s", what, holder.str(),
               kLockSilenceSeconds);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(kLockSilenceSeconds);
  while (std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const auto now = read_holder(file);
    if (!now) return;
    if (!now->is_alive_as(holder)) refuse(file, what, *now);
  }
}

// Returns when the lock that is there was left behind; throws when it is in use.
void judge(const fs::path& file, const std::string& what, const Holder& holder) {
  if (holder.get("space") != process_space() || holder.get("host") != host_name()) {
    watch(file, what, holder);
    log::warning("{} shows no sign of life; taking {} over", holder.str(), what);
    return;
  }
  const std::string begun = beginning_of(holder.pid());
  if (!begun.empty() && begun == holder.get("begun")) refuse(file, what, holder);
  log::info("{} was left by {}, which is gone", file.string(), holder.str());
}

// Removes a lock that was judged. Two that judged the same one meet at the rename of it: only one
// gets it, and if what it got is no longer what was judged, it is put back.
void clear_away(const fs::path& file, const Holder& judged) {
  const fs::path aside = temporary_beside(file);
  if (::rename(file.c_str(), aside.c_str()) != 0) return;
  const auto found = read_holder(aside);
  if (found && found->text != judged.text) {
    [[maybe_unused]] const int result = ::link(aside.c_str(), file.c_str());
  }
  ::unlink(aside.c_str());
}

// Makes the file with this content unless it is there.
bool make(const fs::path& file, const std::string& text) {
  const fs::path draft = temporary_beside(file);
  {
    FileWriter writer(draft);
    writer.write(text);
    writer.commit();
  }
  // A network file system may lose the answer: the count of links is what tells.
  const bool linked = ::link(draft.c_str(), file.c_str()) == 0;
  const int reason = errno;
  struct stat facts {};
  const bool counted = ::stat(draft.c_str(), &facts) == 0 && facts.st_nlink == 2;
  ::unlink(draft.c_str());
  if (linked || counted) return true;
  if (reason == EEXIST) return false;
  // Without hard links: exclusive creation, which then is all there is.
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 && errno == EEXIST) return false;
  require<IoError>(fd >= 0, "cannot create {}: {}", file.string(), std::strerror(errno));
  const bool is_whole = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  require<IoError>(is_whole, "cannot write {}", file.string());
  return true;
}

}  // namespace

// Touches the file every few seconds while it is the holder's.
class OutputLock::Heartbeat {
 public:
  Heartbeat(fs::path file, std::string own)
      : file_(std::move(file)), own_(std::move(own)), thread_([this] { beat(); }) {}
  ~Heartbeat() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

 private:
  void beat() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::seconds(kLockHeartbeatSeconds),
                           [this] { return ended_; })) {
      const auto found = read_holder(file_);
      if (found && found->text == own_) ::utimensat(AT_FDCWD, file_.c_str(), nullptr, 0);
    }
  }

  fs::path file_;
  std::string own_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ended_ = false;
  std::thread thread_;
};

OutputLock::OutputLock(const fs::path& file, const std::string& what)
    : file_(file), what_(what), own_(description_of_this_process()) {
  const fs::path folder = file.parent_path();
  made_folder_ = !folder.empty() && !fs::exists(folder);
  if (!folder.empty()) make_directories(folder);
  while (!make(file_, own_)) {
    const auto holder = read_holder(file_);
    if (!holder) continue;  // just released
    judge(file_, what_, *holder);
    clear_away(file_, *holder);
  }
  // The thread's signals are the main thread's business.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  heartbeat_ = std::make_unique<Heartbeat>(file_, own_);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

OutputLock::~OutputLock() {
  heartbeat_.reset();
  const auto found = read_holder(file_);
  if (found && found->text == own_) ::unlink(file_.c_str());
  if (made_folder_) ::rmdir(file_.parent_path().c_str());
}

void OutputLock::check() const {
  const auto found = read_holder(file_);
  require<IoError>(found && found->text == own_,
                   "the lock {} is {}: another process may be writing to {} now, so this one "
                   "writes no more",
                   file_.string(), found ? "now that of " + found->str() : "gone", what_);
}

}  // namespace gda
