// Remote: the audit's end of the wire to a target process (wire.h).
#pragma once

#include <p11-kit-1/p11-kit/pkcs11.h>
#include <sys/types.h>

#include <cstddef>
#include <map>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/audit/forms.h"
#include "tests/audit/wire.h"

namespace secretmem::audit {

// CannotLook is thrown when the audit cannot do its work: no module, no permission, a target
// that died. It always ends the audit with a failure.
class CannotLook : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// AUDIT_SLOT is the number of a function in the function lists, counted from the version field.
#define AUDIT_SLOT(function) (offsetof(CK_FUNCTION_LIST, function) / sizeof(void*))

struct Attribute {
  CK_ATTRIBUTE_TYPE type;
  Bytes value;
};
using Template = std::vector<Attribute>;

template <typename T>
requires std::is_trivially_copyable_v<T> Bytes BytesOf(const T& value) {
  const auto* begin = reinterpret_cast<const uint8_t*>(&value);
  return Bytes(begin, begin + sizeof(value));
}

// PreparedCall is one C_* call whose arguments are laid out for the target's arena.
class PreparedCall {
 public:
  PreparedCall(std::string name, uint64_t slot) : name_(std::move(name)), slot_(slot) {}

  // Each adder appends one argument (two where the length follows) and returns *this.
  PreparedCall& Number(uint64_t value);
  PreparedCall& Data(const Bytes& value);            // pointer; NULL when empty
  PreparedCall& DataAndLength(const Bytes& value);   // pointer, length
  PreparedCall& Attributes(const Template& values);  // pointer, count
  PreparedCall& Mechanism(CK_MECHANISM_TYPE type, const Bytes& parameter = {});
  // Handle and Output make room for a result; read them with Remote::Result.
  PreparedCall& Handle();
  PreparedCall& Output(size_t size);  // pointer, pointer to a length holding `size`

  // Place puts bytes into the arena without an argument and returns their address in the target,
  // for parameters that hold pointers.
  uint64_t Place(const Bytes& value);

  // Expect names the answer that the call has to give, CKR_OK unless said.
  PreparedCall& Expect(CK_RV rv);
  // AfterPause has a scenario wait before it makes the call.
  PreparedCall& AfterPause(unsigned milliseconds);

  CK_RV expected() const { return expected_; }
  unsigned pause_ms() const { return pause_ms_; }
  const std::string& name() const { return name_; }
  uint64_t slot() const { return slot_; }
  const std::vector<uint64_t>& args() const { return args_; }
  const Bytes& image() const { return image_; }

 private:
  std::string name_;
  uint64_t slot_;
  CK_RV expected_ = CKR_OK;
  unsigned pause_ms_ = 0;
  std::vector<uint64_t> args_;
  Bytes image_ = Bytes(kArenaStart, 0);
};

class Remote {
 public:
  // Starts `target` with `module` and `environment` ("NAME=value"); throws CannotLook when the
  // module cannot be loaded. Its standard error is appended to `log`, unless that is empty.
  Remote(const std::string& target, const std::string& module,
         const std::vector<std::string>& environment, const std::string& directory,
         const std::string& log = "");
  ~Remote();
  Remote(const Remote&) = delete;
  Remote& operator=(const Remote&) = delete;

  // Run makes the call and waits. Send and Receive are its halves, for whoever traces between.
  CK_RV Run(const PreparedCall& call);
  void Send(const PreparedCall& call, uint32_t flags);
  CK_RV Receive();

  // Results of the last call: `Word(n)` is the CK_ULONG that argument n points to, `Data(n, size)`
  // the bytes it points to.
  uint64_t Word(size_t argument) const;
  Bytes Data(size_t argument, size_t size) const;

  uint64_t Control(Command command, uint64_t number = 0);
  // Syscall has the target make a system call; -errno on failure. Pointers must lie in the arena
  // (`image`, placed from kArenaAddress + kArenaStart on) or in the target's own memory.
  int64_t Syscall(long number, const std::vector<uint64_t>& args, const Bytes& image = {});
  Bytes ArenaBytes(size_t offset, size_t size) const;

  // PlantDecoys plants a random decoy in each DecoyPlace and returns them.
  std::vector<Secret> PlantDecoys();
  // The decoy that each traced call passes over its stack.
  const Secret& passing_decoy() const { return passing_decoy_; }

  pid_t pid() const { return pid_; }
  const Hello& hello() const { return hello_; }
  void RefreshHello();

  // UseChild turns the wire to the child of Command::kFork (and back).
  void UseChild(bool child) { child_ = child; }

  // Ends the target in the ordinary way, or waits for one that was made to crash; the wait status.
  int Exit();
  int WaitForEnd();

 private:
  void SendRequest(const Request& request, const Bytes& image);
  Reply ReceiveReply();

  pid_t pid_ = -1;
  bool ended_ = false;
  bool child_ = false;
  int request_[2] = {-1, -1};
  int reply_[2] = {-1, -1};
  Hello hello_;
  Secret passing_decoy_;
  Bytes arena_;
  std::vector<uint64_t> last_args_;
};

// RandomBytes returns `size` fresh random bytes.
Bytes RandomBytes(size_t size);

}  // namespace secretmem::audit
