#include "tool/pin.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "pkcs11/descriptor.h"
#include "tool/exit_codes.h"
#include "tool/system.h"

namespace secretmem::tool {

namespace {

// The longest PIN that the module can be configured to take, and a newline, and one more.
constexpr size_t kMostBytes = 257;

unsigned char* MapPage() {
  void* page = MapSecretPage().address;
  if (page == nullptr) {
    page = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) throw ToolError(kFailed, "no memory for a PIN");
    // Where even this is refused the PIN may be swapped, which does not make it less of a PIN.
    static_cast<void>(mlock(page, kPageBytes));
    madvise(page, kPageBytes, MADV_DONTDUMP);
  }
  madvise(page, kPageBytes, MADV_DONTFORK);
  return static_cast<unsigned char*>(page);
}

int g_terminal = -1;
termios g_before;

void RestoreAndDie(int signal) {
  tcsetattr(g_terminal, TCSANOW, &g_before);
  raise(signal);  // SA_RESETHAND: now with its own effect, once the handler returns.
}

// Quiet keeps the terminal from showing what is typed, until its end, a signal's included.
class Quiet {
 public:
  explicit Quiet(int terminal) {
    g_terminal = terminal;
    if (tcgetattr(terminal, &g_before) != 0) {
      throw ToolError(kPinRefused, "the terminal cannot be kept from showing the PIN");
    }
    struct sigaction action = {};
    action.sa_handler = RestoreAndDie;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &old_[i]);
    termios quiet = g_before;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    quiet.c_lflag |= ECHONL;
    tcsetattr(terminal, TCSAFLUSH, &quiet);
  }
  ~Quiet() {
    tcsetattr(g_terminal, TCSAFLUSH, &g_before);
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &old_[i], nullptr);
  }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  struct sigaction old_[4];
};

void Say(int terminal, const std::string& text) {
  static_cast<void>(!write(terminal, text.data(), text.size()));
}

PinText AskTerminal(const std::string& what, bool is_new, const std::string& options) {
  const Descriptor terminal(open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (terminal.get() < 0) {
    throw ToolError(kPinRefused, "no terminal to ask for the " + what,
                    "Give " + options + ": a file or a descriptor with the PIN in its first line.");
  }
  PinText pin;
  const Quiet quiet(terminal.get());
  Say(terminal.get(), (is_new ? "New " : "") + what + ": ");
  pin.Fill(terminal.get(), "the terminal");
  if (is_new) {
    PinText again;
    Say(terminal.get(), "The same again: ");
    again.Fill(terminal.get(), "the terminal");
    if (!pin.Equals(again)) {
      throw ToolError(kPinRefused, "the two PINs differ", "Nothing was changed; try again.");
    }
  }
  return pin;
}

}  // namespace

PinText::PinText() : page_(MapPage()) {}

PinText::~PinText() {
  if (page_ == nullptr) return;
  explicit_bzero(page_, kPageBytes);
  munmap(page_, kPageBytes);
}

void PinText::Fill(int descriptor, const std::string& source) {
  size_ = 0;
  while (size_ < kMostBytes) {
    // One byte at a time: what follows the line is the next reader's.
    const ssize_t got = read(descriptor, page_ + size_, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw ToolError(kPinRefused,
                      "cannot read the PIN from " + source + ": " + std::strerror(errno));
    }
    if (got == 0 || page_[size_] == '\n') {
      if (size_ == 0) throw ToolError(kPinRefused, "there is no PIN in " + source);
      return;
    }
    ++size_;
  }
  throw ToolError(kPinRefused, "the first line of " + source + " is longer than any PIN");
}

bool PinText::Equals(const PinText& other) const {
  if (size_ != other.size_) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < size_; ++i) difference |= page_[i] ^ other.page_[i];
  return difference == 0;
}

PinText ReadPin(const PinSource& source, const std::string& what, bool is_new,
                const std::string& options) {
  if (source.descriptor) {
    PinText pin;
    pin.Fill(*source.descriptor, "descriptor " + std::to_string(*source.descriptor));
    return pin;
  }
  if (source.file.empty()) return AskTerminal(what, is_new, options);
  const Descriptor file(open(source.file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (file.get() < 0) {
    throw ToolError(kPinRefused, source.file + ": " + std::strerror(errno));
  }
  PinText pin;
  pin.Fill(file.get(), source.file);
  return pin;
}

}  // namespace secretmem::tool
