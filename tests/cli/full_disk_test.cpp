// A run whose disk is full: a few megabytes of memory mounted as a folder play the disk.
#include <fmt/format.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>

#include "cli/run_folder.h"

namespace gda::test {
namespace {

namespace fs = std::filesystem;

class SmallDisk {
 public:
  explicit SmallDisk(const fs::path& path) : path_(path) {
    fs::create_directories(path);
    if (::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=1m") != 0) reason_ = std::strerror(errno);
  }
  ~SmallDisk() {
    if (mounted()) ::umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return reason_.empty(); }
  const std::string& reason() const { return reason_; }
  // Leaves `bytes` free.
  void fill_up_to(std::uint64_t bytes) const {
    FileWriter filler(path_ / "filler");
    const std::vector<std::byte> page(4096);
    while (fs::space(path_).free > bytes) filler.write(page);
    filler.commit();
  }
  void make_room() const { fs::remove(path_ / "filler"); }

 private:
  fs::path path_;
  std::string reason_;
};

TEST(FullDiskTest, KeepsOlderCheckpointsAndGoesOnAfterRoomIsMade) {
  RunFolder folder(40);
  folder.config.checkpoint.keep_last = 2;
  const SmallDisk disk(folder.checkpoints());
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount a small tmpfs: " << disk.reason();
  const Outcome first = run_gda(folder.train("run", {"train.steps=10"}));
  ASSERT_EQ(first.code, 0) << first.text;
  disk.fill_up_to(16384);

  for (const std::string async : {"true", "false"}) {
    const Outcome full = run_gda({"resume", folder.run(), "train.steps=40",
                                  "checkpoint.every_steps=15", "checkpoint.async=" + async});
    EXPECT_EQ(full.code, 1) << full.text;
    // One line for the save of step 15 that failed, one for that of step 30, and the error at the
    // end, each naming the file and the reason.
    std::istringstream lines(full.text);
    int periodic = 0;
    int final = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line.find("No space left on device") == std::string::npos) continue;
      EXPECT_NE(line.find("cannot save checkpoint " + folder.checkpoints().string()),
                std::string::npos)
          << line;
      const bool ends = line.starts_with("gda: error: ");
      (ends ? final : periodic) += 1;
      EXPECT_TRUE(ends || line.find("training continues") != std::string::npos) << line;
    }
    EXPECT_EQ(periodic, 2) << full.text;
    EXPECT_EQ(final, 1) << full.text;
    EXPECT_EQ(folder.newest_step(), 10);
    EXPECT_FALSE(folder.has_temporary());
  }
  const Outcome verified = run_gda({"inspect", "--verify", folder.run()});
  EXPECT_EQ(verified.code, 0) << verified.text;

  disk.make_room();
  const Outcome resumed = run_gda({"resume", folder.run(), "train.steps=40"});
  EXPECT_EQ(resumed.code, 0) << resumed.text;
  EXPECT_TRUE(resumed.says("(step 10, written by 1 rank)")) << resumed.text;
  EXPECT_EQ(folder.newest_step(), 40);
}

// Reports cannot be written either when the whole run folder is full: the run ends with one line,
// and goes on from its newest checkpoint later.
TEST(FullDiskTest, AlsoOfTheReports) {
  RunFolder folder(400);
  const SmallDisk disk(folder.run());
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount a small tmpfs: " << disk.reason();
  ASSERT_EQ(run_gda(folder.train("run", {"train.steps=10"})).code, 0);
  disk.fill_up_to(16384);
  const Outcome full = run_gda({"resume", folder.run(), "train.steps=400"});
  EXPECT_EQ(full.code, 1) << full.text;
  EXPECT_TRUE(full.says("No space left on device")) << full.text;
  EXPECT_EQ(folder.newest_step(), 10);
  disk.make_room();
  const Outcome resumed = run_gda({"resume", folder.run(), "train.steps=40"});
  EXPECT_EQ(resumed.code, 0) << resumed.text;
  EXPECT_EQ(folder.metrics().size(), 40U);
}

// Nothing is written when the disk has no room for what would come.
TEST(FullDiskTest, GrowthAsksBeforeItWrites) {
  const RunFolder folder(2);
  ASSERT_EQ(run_gda(folder.train()).code, 0);
  const SmallDisk disk(folder.path("disk"));
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount a small tmpfs: " << disk.reason();
  disk.fill_up_to(16384);
  const fs::path to = folder.path("disk") / "grown";
  const std::vector<std::string> grow{"grow", "width", "--from",          folder.run(),
                                      "--to", to,      "--hidden-factor", "2"};
  const Outcome full = run_gda(grow);
  EXPECT_EQ(full.code, 1) << full.text;
  EXPECT_TRUE(full.says("--to " + to.string() + ": the grown checkpoint needs ")) << full.text;
  EXPECT_TRUE(full.says(" free (16384 bytes); make room, or choose another folder")) << full.text;
  EXPECT_FALSE(fs::exists(to));
  disk.make_room();
  EXPECT_EQ(run_gda(grow).code, 0);
}

}  // namespace
}  // namespace gda::test
