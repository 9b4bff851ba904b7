// A folder for one test, and the text of errors.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "gda/core/error.h"
#include "support/temporary_folder.h"

namespace gda::test {

using Scratch = TemporaryFolder;

// The message of the E that f throws; a test failure if it throws none.
template <class E>
std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error of the expected kind";
  return {};
}

}  // namespace gda::test
