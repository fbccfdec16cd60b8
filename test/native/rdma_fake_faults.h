// What goes wrong in the fake RDMA device and when, and what its user did wrong. Tests say the first, the
// device and the connection manager of rdma_fake_verbs.h ask here at every step and note the second. Knows no
// objects.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace splitplane::rdma::fake {

// What a work request is to native/rdma: a packet, or a part of bulk data (READ, WRITE).
enum class Work : uint8_t { kPacket, kPart };

class Faults {
 public:
  // From now on: the `nth` call (from 0) of the function with this name in Verbs fails with `error`, and
  // those after it, `times` in all.
  void FailCall(const std::string& function, uint32_t nth, int error, uint32_t times = 1) {
    call_ = {function, nth, error, times, false};
  }
  // Whether the call that was to fail came.
  bool call_failed() const { return call_.struck; }
  // The `nth` work request of a kind, from now on, ends with `status`, which breaks its queue pair.
  void EndWork(Work kind, uint32_t nth, ibv_wc_status status) { work_ = {kind, nth, status}; }
  // Every part from now on.
  void EndEveryPart(ibv_wc_status status) { every_part_ = status; }
  // The connection manager tells `instead` where it would tell `event` next.
  void ReplaceEvent(rdma_cm_event_type event, rdma_cm_event_type instead, int status) {
    event_ = Replaced{event, instead, status};
  }
  // As the limit on locked memory does.
  void LimitRegistrations(uint64_t bytes) { registered_bytes_max_ = bytes; }
  // Work requests of this kind wait until released.
  void Hold(Work kind) { held_[kind] = true; }
  void Release(Work kind) { held_[kind] = false; }

  // For the device and the connection manager. The error with which this call fails, or zero.
  int OnCall(const char* function);
  ibv_wc_status OnWork(Work kind);
  void OnEvent(rdma_cm_event_type& event, int& status);
  bool held(Work kind) const {
    const auto found = held_.find(kind);
    return found != held_.end() && found->second;
  }
  uint64_t registered_bytes_max() const { return registered_bytes_max_; }
  // Against the rules of the libraries: a test fails for it when it is over.
  void Complain(std::string what) { complaints_.push_back(std::move(what)); }
  const std::vector<std::string>& complaints() const { return complaints_; }

 private:
  struct Call {
    std::string function;
    uint32_t nth = 0;
    int error = 0;
    uint32_t times = 0;
    bool struck = false;
  };
  struct Ended {
    Work kind = Work::kPart;
    uint32_t nth = 0;
    ibv_wc_status status = IBV_WC_SUCCESS;
  };
  struct Replaced {
    rdma_cm_event_type event, instead;
    int status;
  };

  Call call_;
  std::optional<Ended> work_;
  ibv_wc_status every_part_ = IBV_WC_SUCCESS;
  std::optional<Replaced> event_;
  uint64_t registered_bytes_max_ = UINT64_MAX;
  std::map<Work, bool> held_;
  std::vector<std::string> complaints_;
};

}  // namespace splitplane::rdma::fake

#endif  // SPLITPLANE_HAS_VERBS
