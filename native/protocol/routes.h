// The ways to a peer that a dialer may take: transports with an address each, best first. Says which is next
// when one fails, and why those before the one in use are not used. Posts nothing, dials nothing, keeps no
// time.
//
// Attempts come in rounds: each route once, best first. Going back to a better transport thus happens where a
// link has to be dialed anyway, and only there.
#pragma once

#include <string>
#include <vector>

#include "native/protocol/engine.h"

namespace splitplane {

class Routes {
 public:
  // A link that is lost earlier has not shown that its route carries anything.
  static constexpr MonotonicNs kProvenNs = 10'000'000'000;
  // After so many such links in a row a route comes last in its rounds. Without this, a route that can always
  // be dialed and never carries would keep its session from going on.
  static constexpr uint32_t kUnprovenMax = 2;

  struct Entry {
    std::string name;
    std::string address;
    Transport* transport = nullptr;  // null: not available here, `why` says it
    Status why{};                    // not ok: it could not be taken, or lost the link
    uint32_t unproven = 0;           // links in a row
  };

  Routes() = default;
  // At least one.
  explicit Routes(std::vector<Entry> entries);

  void BeginRound();
  // The next one to try in this round, from now on the current one; null: all were tried.
  const Entry* Next();
  // Whether another one of this round may still work.
  bool HasMore() const;

  // The current one could not be taken.
  void PassOver(Status why);
  // The current one carries the session.
  void Carries();
  // It did, for so long.
  void Lost(Status why, MonotonicNs lived);

  // Why none could be taken: what the last resort said, and what the others did.
  Status Failure() const;
  // Better routes than the current one, and why they are not used.
  std::vector<PassedOver> passed_over() const;

 private:
  std::vector<Entry> entries_;  // best first
  std::vector<size_t> order_;   // of this round
  size_t next_ = 0;             // in order_
  size_t current_ = 0;          // in entries_
};

}  // namespace splitplane
