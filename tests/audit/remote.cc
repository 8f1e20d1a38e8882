#include "tests/audit/remote.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace secretmem::audit {
namespace {

constexpr int kReplyTimeoutMs = 300'000;

uint64_t AddressOf(size_t offset) { return kArenaAddress + offset; }

void Pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) throw CannotLook("pipe2 failed");
}

}  // namespace

Bytes RandomBytes(size_t size) {
  Bytes bytes(size);
  for (size_t done = 0; done < size;) {
    const ssize_t got = getrandom(bytes.data() + done, size - done, 0);
    if (got <= 0) throw CannotLook("getrandom failed");
    done += static_cast<size_t>(got);
  }
  return bytes;
}

uint64_t PreparedCall::Place(const Bytes& value) {
  while (image_.size() % 16 != 0) image_.push_back(0);
  const uint64_t address = AddressOf(image_.size());
  image_.insert(image_.end(), value.begin(), value.end());
  if (image_.size() > kArenaSize) throw CannotLook("arguments exceed the arena");
  return address;
}

PreparedCall& PreparedCall::Expect(CK_RV rv) {
  expected_ = rv;
  return *this;
}

PreparedCall& PreparedCall::AfterPause(unsigned milliseconds) {
  pause_ms_ = milliseconds;
  return *this;
}

PreparedCall& PreparedCall::Number(uint64_t value) {
  args_.push_back(value);
  return *this;
}

PreparedCall& PreparedCall::Data(const Bytes& value) {
  return Number(value.empty() ? 0 : Place(value));
}

PreparedCall& PreparedCall::DataAndLength(const Bytes& value) {
  return Data(value).Number(value.size());
}

PreparedCall& PreparedCall::Attributes(const Template& values) {
  Bytes list;
  for (const Attribute& attribute : values) {
    const CK_ATTRIBUTE entry = {attribute.type, reinterpret_cast<void*>(Place(attribute.value)),
                                attribute.value.size()};
    const Bytes raw = BytesOf(entry);
    list.insert(list.end(), raw.begin(), raw.end());
  }
  return Data(list).Number(values.size());
}

PreparedCall& PreparedCall::Mechanism(CK_MECHANISM_TYPE type, const Bytes& parameter) {
  const CK_MECHANISM mechanism = {
      type, reinterpret_cast<void*>(parameter.empty() ? 0 : Place(parameter)), parameter.size()};
  return Data(BytesOf(mechanism));
}

PreparedCall& PreparedCall::Handle() { return Data(BytesOf(CK_OBJECT_HANDLE{0})); }

PreparedCall& PreparedCall::Output(size_t size) {
  return Data(Bytes(size, 0)).Data(BytesOf(CK_ULONG{size}));
}

Remote::Remote(const std::string& target, const std::string& module,
               const std::vector<std::string>& environment, const std::string& directory,
               const std::string& log) {
  int to[2];
  int from[2];
  int child_to[2];
  int child_from[2];
  Pipe(to);
  Pipe(from);
  Pipe(child_to);
  Pipe(child_from);
  std::vector<char*> env;
  for (const auto& variable : environment) env.push_back(const_cast<char*>(variable.c_str()));
  env.push_back(nullptr);
  char* const argv[] = {const_cast<char*>(target.c_str()), const_cast<char*>(module.c_str()),
                        nullptr};
  pid_ = fork();
  if (pid_ < 0) throw CannotLook("fork failed");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int ends[] = {to[0], from[1], child_to[0], child_from[1]};
    int high[4];
    for (int i = 0; i < 4; ++i) high[i] = fcntl(ends[i], F_DUPFD_CLOEXEC, 20);
    for (int i = 0; i < 4; ++i) {
      if (dup2(high[i], kRequestFd + i) < 0) _exit(127);
    }
    if (chdir(directory.c_str()) != 0) _exit(127);
    if (!log.empty()) {
      const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
      if (fd < 0 || dup2(fd, STDERR_FILENO) < 0) _exit(127);
    }
    execve(target.c_str(), argv, env.data());
    _exit(127);
  }
  for (int fd : {to[0], from[1], child_to[0], child_from[1]}) close(fd);
  request_[0] = to[1];
  reply_[0] = from[0];
  request_[1] = child_to[1];
  reply_[1] = child_from[0];
  passing_decoy_ = {"passing decoy", RandomBytes(kPassingDecoySize)};
  try {
    RefreshHello();
  } catch (const CannotLook&) {
    WaitForEnd();
    throw CannotLook("the target could not start with module " + module);
  }
}

Remote::~Remote() {
  for (int fd : {request_[0], request_[1], reply_[0], reply_[1]}) {
    if (fd >= 0) close(fd);
  }
  if (!ended_ && pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, __WALL);
  }
}

void Remote::SendRequest(const Request& request, const Bytes& image) {
  Bytes wire = BytesOf(request);
  wire.insert(wire.end(), image.begin(), image.end());
  for (size_t done = 0; done < wire.size();) {
    const ssize_t put = write(request_[child_], wire.data() + done, wire.size() - done);
    if (put <= 0) throw CannotLook("the target no longer listens");
    done += static_cast<size_t>(put);
  }
}

Reply Remote::ReceiveReply() {
  auto read_all = [&](void* to, size_t size) {
    auto* bytes = static_cast<uint8_t*>(to);
    while (size > 0) {
      pollfd wait = {reply_[child_], POLLIN, 0};
      if (poll(&wait, 1, kReplyTimeoutMs) == 0) throw CannotLook("the target does not answer");
      const ssize_t got = read(reply_[child_], bytes, size);
      if (got <= 0) throw CannotLook("the target died");
      bytes += got;
      size -= static_cast<size_t>(got);
    }
  };
  Reply reply;
  read_all(&reply, sizeof(reply));
  arena_.resize(reply.arena_bytes);
  read_all(arena_.data(), arena_.size());
  return reply;
}

void Remote::Send(const PreparedCall& call, uint32_t flags) {
  Request request;
  request.command = Command::kCall;
  request.flags = flags;
  request.number = call.slot();
  for (size_t i = 0; i < call.args().size(); ++i) request.args.at(i) = call.args()[i];
  Bytes image = call.image();
  std::memcpy(image.data(), passing_decoy_.value.data(), kPassingDecoySize);
  request.arena_bytes = image.size();
  last_args_ = call.args();
  SendRequest(request, image);
}

CK_RV Remote::Receive() { return ReceiveReply().value; }

CK_RV Remote::Run(const PreparedCall& call) {
  Send(call, 0);
  return Receive();
}

uint64_t Remote::Word(size_t argument) const {
  const Bytes raw = Data(argument, sizeof(uint64_t));
  uint64_t word;
  std::memcpy(&word, raw.data(), sizeof(word));
  return word;
}

Bytes Remote::Data(size_t argument, size_t size) const {
  return ArenaBytes(last_args_.at(argument) - kArenaAddress, size);
}

Bytes Remote::ArenaBytes(size_t offset, size_t size) const {
  if (offset + size > arena_.size()) throw CannotLook("a result beyond the arena");
  const auto begin = arena_.begin() + static_cast<ptrdiff_t>(offset);
  return Bytes(begin, begin + static_cast<ptrdiff_t>(size));
}

uint64_t Remote::Control(Command command, uint64_t number) {
  Request request;
  request.command = command;
  request.number = number;
  SendRequest(request, {});
  return ReceiveReply().value;
}

int64_t Remote::Syscall(long number, const std::vector<uint64_t>& args, const Bytes& image) {
  Request request;
  request.command = Command::kSyscall;
  request.number = static_cast<uint64_t>(number);
  for (size_t i = 0; i < args.size(); ++i) request.args.at(i) = args[i];
  Bytes whole(kArenaStart, 0);
  whole.insert(whole.end(), image.begin(), image.end());
  request.arena_bytes = whole.size();
  SendRequest(request, whole);
  const Reply reply = ReceiveReply();
  return reply.error != 0 ? -reply.error : static_cast<int64_t>(reply.value);
}

std::vector<Secret> Remote::PlantDecoys() {
  static const char* const kNames[] = {
      "decoy in the heap",
      "decoy in static data",
      "decoy in thread-local storage",
      "decoy on the stack",
      "decoy on the alternate stack",
      "decoy on an ended thread's stack",
      "decoy in a file mapping",
      "decoy in a page without access",
  };
  static_assert(std::size(kNames) == static_cast<size_t>(DecoyPlace::kCount));
  std::vector<Secret> decoys;
  Bytes image(kArenaStart, 0);
  for (const char* name : kNames) {
    decoys.push_back({name, RandomBytes(kDecoySize)});
    image.insert(image.end(), decoys.back().value.begin(), decoys.back().value.end());
  }
  Request request;
  request.command = Command::kDecoys;
  request.arena_bytes = image.size();
  SendRequest(request, image);
  ReceiveReply();
  return decoys;
}

void Remote::RefreshHello() {
  Request request;
  request.command = Command::kHello;
  request.arena_bytes = kArenaStart + sizeof(Hello);
  SendRequest(request, Bytes(request.arena_bytes, 0));
  ReceiveReply();
  std::memcpy(&hello_, arena_.data() + kArenaStart, sizeof(hello_));
}

int Remote::Exit() {
  Request request;
  request.command = Command::kExit;
  SendRequest(request, {});
  return WaitForEnd();
}

int Remote::WaitForEnd() {
  int status = 0;
  if (waitpid(pid_, &status, __WALL) != pid_) throw CannotLook("waitpid failed");
  ended_ = true;
  return status;
}

}  // namespace secretmem::audit
