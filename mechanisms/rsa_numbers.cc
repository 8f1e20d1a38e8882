#include "mechanisms/rsa_numbers.h"

#include "vault/secret_stack.h"

namespace secretmem {
namespace {

using Number = RsaNumbers::Number;

Number Minus(const BIGNUM* number, BN_ULONG word) {
  Number result(BN_dup(number));
  if (result != nullptr && !BN_sub_word(result.get(), word)) result.reset();
  return result;
}

// FindPrimes factors n, knowing a multiple of the order of its group: NIST SP 800-56B revision 2,
// appendix C.2.
bool FindPrimes(RsaNumbers& its, BN_CTX* ctx) {
  const bssl::UniquePtr<BN_MONT_CTX> mont(BN_MONT_CTX_new_for_modulus(its.n.get(), ctx));
  const Number k(BN_new()), r(BN_new()), g(BN_new()), x(BN_new()), y(BN_new());
  const Number minus_one = Minus(its.n.get(), 1);
  if (mont == nullptr || k == nullptr || r == nullptr || g == nullptr || x == nullptr ||
      y == nullptr || minus_one == nullptr || !BN_mul(k.get(), its.e.get(), its.d.get(), ctx) ||
      !BN_sub_word(k.get(), 1) || BN_is_zero(k.get()) || BN_is_odd(k.get())) {
    return false;
  }
  const int twos = BN_count_low_zero_bits(k.get());
  if (!BN_rshift(r.get(), k.get(), twos)) return false;
  for (int round = 0; round < 100; ++round) {
    SafePoint();
    if (!BN_rand_range_ex(g.get(), 2, minus_one.get()) ||
        !BN_mod_exp_mont_consttime(x.get(), g.get(), r.get(), its.n.get(), ctx, mont.get())) {
      return false;
    }
    if (BN_is_one(x.get()) || BN_cmp(x.get(), minus_one.get()) == 0) continue;
    for (int i = 0;; ++i) {
      // After |twos| squarings it is 1, or this is no key.
      if (i == twos) return false;
      if (!BN_mod_sqr(y.get(), x.get(), its.n.get(), ctx)) return false;
      if (BN_is_one(y.get())) {
        its.p.reset(BN_new());
        its.q.reset(BN_new());
        if (its.p == nullptr || its.q == nullptr || !BN_sub_word(x.get(), 1) ||
            !BN_gcd(its.p.get(), x.get(), its.n.get(), ctx) ||
            !BN_div(its.q.get(), nullptr, its.n.get(), its.p.get(), ctx)) {
          return false;
        }
        // The larger one first, as keys are generated.
        if (BN_cmp(its.p.get(), its.q.get()) < 0) its.p.swap(its.q);
        return true;
      }
      if (BN_cmp(y.get(), minus_one.get()) == 0) break;
      if (BN_copy(x.get(), y.get()) == nullptr) return false;
    }
  }
  return false;
}

// Remainder sets |out| to d modulo prime - 1 where it is missing.
bool Remainder(Number& out, const BIGNUM* d, const BIGNUM* prime, BN_CTX* ctx) {
  if (out != nullptr) return true;
  const Number order = Minus(prime, 1);
  out.reset(BN_new());
  return order != nullptr && out != nullptr && BN_mod(out.get(), d, order.get(), ctx);
}

// Inverse sets |out| to the inverse of |number| modulo |prime| where it is missing, by Fermat.
bool Inverse(Number& out, const BIGNUM* number, const BIGNUM* prime, BN_CTX* ctx) {
  if (out != nullptr) return true;
  if (!BN_is_odd(prime) || BN_num_bits(prime) < 3) return false;
  const bssl::UniquePtr<BN_MONT_CTX> mont(BN_MONT_CTX_new_for_modulus(prime, ctx));
  const Number exponent = Minus(prime, 2), reduced(BN_new());
  out.reset(BN_new());
  return mont != nullptr && exponent != nullptr && reduced != nullptr && out != nullptr &&
         BN_mod(reduced.get(), number, prime, ctx) &&
         BN_mod_exp_mont_consttime(out.get(), reduced.get(), exponent.get(), prime, ctx,
                                   mont.get());
}

}  // namespace

bssl::UniquePtr<RSA> RsaNumbers::Take() {
  bssl::UniquePtr<RSA> rsa(RSA_new());
  // The RSA owns what it took.
  if (rsa == nullptr || !RSA_set0_key(rsa.get(), n.get(), e.get(), d.get())) return nullptr;
  for (Number* number : {&n, &e, &d}) (void)number->release();
  if (p == nullptr) return rsa;
  if (!RSA_set0_factors(rsa.get(), p.get(), q.get())) return nullptr;
  for (Number* number : {&p, &q}) (void)number->release();
  if (!RSA_set0_crt_params(rsa.get(), dmp1.get(), dmq1.get(), iqmp.get())) return nullptr;
  for (Number* number : {&dmp1, &dmq1, &iqmp}) (void)number->release();
  return rsa;
}

bool CompleteRsa(RsaNumbers& its) {
  const bssl::UniquePtr<BN_CTX> ctx(BN_CTX_new());
  if (ctx == nullptr || its.n == nullptr || its.d == nullptr) return false;
  if (BN_cmp(its.d.get(), its.n.get()) >= 0 || BN_is_zero(its.d.get())) return false;
  for (const Number* prime : {&its.p, &its.q}) {
    // Bounds what follows.
    if (*prime != nullptr && (BN_cmp(prime->get(), its.n.get()) >= 0 || !BN_is_odd(prime->get()))) {
      return false;
    }
  }
  const bool has_primes = its.p != nullptr && its.q != nullptr;
  if (its.e == nullptr) {
    its.e.reset(BN_new());
    if (its.e == nullptr) return false;
    if (has_primes) {
      // It is far smaller than p - 1.
      const Number order = Minus(its.p.get(), 1);
      if (order == nullptr || BN_is_zero(order.get()) ||
          BN_mod_inverse(its.e.get(), its.d.get(), order.get(), ctx.get()) == nullptr) {
        return false;
      }
    } else if (!BN_set_word(its.e.get(), RSA_F4)) {
      return false;
    }
  }
  if (!has_primes) {
    // What depends on the order of the primes goes with them.
    for (Number* number : {&its.p, &its.q, &its.dmp1, &its.dmq1, &its.iqmp}) number->reset();
    if (!FindPrimes(its, ctx.get())) return false;
  }
  return Remainder(its.dmp1, its.d.get(), its.p.get(), ctx.get()) &&
         Remainder(its.dmq1, its.d.get(), its.q.get(), ctx.get()) &&
         Inverse(its.iqmp, its.q.get(), its.p.get(), ctx.get());
}

}  // namespace secretmem
