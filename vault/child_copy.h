#pragma once

namespace secretmem {

// A child of fork needs a copy of the library heap, and a parent at its memory-lock limit has no
// room for one. While the gate is closed nobody runs on the free stacks: they make room, and come
// back when the copy is the child's.
struct RoomForChild {
  void (*make)();
  void (*take_back)();
};

// SetRoomForChild is called once, before the heap's fork hooks run.
void SetRoomForChild(const RoomForChild& room);

}  // namespace secretmem
