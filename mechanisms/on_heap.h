#pragma once

#include <openssl/mem.h>

#include <memory>

namespace secretmem {

struct OpensslFree {
  void operator()(void* memory) const { OPENSSL_free(memory); }
};

// OnHeap owns a T on BoringSSL's heap, which is secret memory: for the expanded keys of
// post-quantum mechanisms, which would take a third of a secret stack. Made and freed in a borrow.
template <class T>
using OnHeap = std::unique_ptr<T, OpensslFree>;

// NewOnHeap returns null where there is no memory.
template <class T>
OnHeap<T> NewOnHeap() {
  return OnHeap<T>(static_cast<T*>(OPENSSL_malloc(sizeof(T))));
}

}  // namespace secretmem
