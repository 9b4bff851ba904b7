#include "cli/device_option.h"

#include "cli/options.h"
#include "gda/dist/device_communicator.h"

namespace gda::cli {
namespace {

CLI::Validator known_devices() {
  return one_of(words_of<WantedDevice>());
}

}  // namespace

void add_device_option(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "Where it is computed; auto: on a GPU if there is one")
      ->capture_default_str()
      ->check(known_devices());
}

Device chosen_device(const std::string& option) {
  const auto alone = make_self_communicator();
  return choose_device(
      {.wanted = from_word<WantedDevice>(option).value(), .setting = "--device " + option}, *alone);
}

void add_run_device_option(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "Replaces the configuration's device")
      ->check(known_devices());
}

std::vector<std::string> with_device(std::vector<std::string> overrides,
                                     const std::string& device) {
  if (!device.empty()) overrides.push_back("device=" + device);
  return overrides;
}

}  // namespace gda::cli
