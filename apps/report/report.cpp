// The files of a report.
#include "apps/report/report.h"

#include "core/file.h"

namespace qgrad {

std::filesystem::path write_report(OutputFolder& folder, const Report& report) {
  const std::filesystem::path page = folder.to_write("report.html");
  write_file_atomically(page, report.html);
  write_file_atomically(folder.to_write("report.md"), to_markdown(report.table));
  write_file_atomically(folder.to_write("report.csv"), to_csv(report.table));
  return page;
}

}  // namespace qgrad
