// The page that a run begins with: sections of aligned keys and values.
//
//   model
//     parameters        8,030,261,248
//     layers            32
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace gda {

class StartPage {
 public:
  // Rows that follow belong to it.
  void section(std::string title);
  void row(std::string key, std::string value);
  // Values of all sections begin in the same column; further lines of a value are indented to it.
  // Sections without rows are left out.
  std::string str() const;

 private:
  struct Section {
    std::string title;
    std::vector<std::pair<std::string, std::string>> rows;
  };
  std::vector<Section> sections_;
};

}  // namespace gda
