// Operations that the owner of the memory carries out: reads, writes and atomics whose bytes go through the
// ring, one copy into it and one out of it. It is how memory moves that may not be shown to this peer, and
// how everything is asked that needs the owner's word. Both sides of it are here; the tag table is asked
// before anything moves, and everything ends exactly once. Knows neither sockets nor loans.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "native/memory/slice_cursor.h"
#include "native/shm/outgoing.h"
#include "native/shm/round.h"
#include "native/transport/operation.h"
#include "native/transport/transport.h"

namespace splitplane::shm {

class Transfers {
 public:
  struct Listener {
    std::function<void(Completion)> completed;
    std::function<void(uint32_t tag_index)> notified;
  };
  Transfers(TransportContext& context, TransportStats& stats, Round& round, Outgoing& out, Listener listener)
      : context_(context), stats_(stats), round_(round), out_(out), listener_(std::move(listener)) {}

  void Bind(Requester who) { requester_ = std::move(who); }

  // As Endpoint has them.
  Status PostRead(uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local);
  Status PostWrite(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote, bool notify);
  // The owner fetches the bytes from where `lent` says. If it cannot look there, they go as those of any
  // write.
  Status PostWriteLent(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote, bool notify,
                       WriteLent lent);
  Status PostAtomic(uint64_t operation, const RemoteSlice& remote, const AtomicRequest& request);
  void Cancel(uint64_t operation);

  // What the peer says. What cannot be is a kProtocolViolation.
  Status OnRecord(const RingReader::Record& record);
  bool bound() const { return requester_.has_value(); }
  // Asks for the right to what the peer wants; a refusal is for it to hear.
  Result<TagTable::Use> Begin(const Request& request, Access access);
  void Answer(RecordKind kind, uint64_t number, Code status, uint64_t value = 0);

  // Moves what there is room for, within the budget.
  void Pump();
  // What was ended by calls is told.
  void TellEnded();
  bool has_untold() const { return !untold_.empty(); }
  // Bytes wait for room.
  bool sending() const { return !sending_.empty(); }
  // Operations of this side whose end was not told.
  size_t outstanding() const { return outstanding_; }
  // After a post said kNoResource: there is room again.
  bool HasRoomAgain() const {
    return wants_room_ && asked_.size() <= kOperationsMax / 2 && out_.has_room(kRingBytes / 4);
  }
  bool wants_room() const { return wants_room_; }
  void RoomTold() { wants_room_ = false; }
  // The connection is over: everything ends with `why`.
  void End(const Status& why);

 private:
  // What this side asked for.
  struct Asked {
    RecordKind kind = RecordKind::kRead;
    std::vector<Slice> local;
    SliceCursor cursor;
    uint64_t left = 0;
    std::optional<Request> unannounced;  // of a write: the owner does not know of it
    bool lent = false;                   // of a write: the owner fetches the bytes
    std::optional<Request> instead;      // of one that is lent: what is asked for if the owner cannot look
    bool discarding = false;             // of a read: bytes still come, and go nowhere
    bool answered = false;               // its end was told
    Status failure;                      // of a read: how it ends once the owner has stopped
  };
  // What the peer asked for.
  struct Served {
    RecordKind kind = RecordKind::kRead;
    TagTable::Use use;
    SliceCursor cursor;
    uint64_t left = 0;
    bool discarding = false;  // of a write: it was answered, and bytes still come
    bool notify = false;
  };
  struct Sender {
    bool serving;
    uint64_t number;
  };

  Result<Asked*> Admit(RecordKind kind, uint64_t operation, const RemoteSlice& remote,
                       std::vector<Slice> local);
  Status OnRead(const Request& request);
  Status OnWrite(const Request& request);
  Status OnAtomic(const AtomicAsked& asked);
  Status OnCancel(uint64_t number);
  Status OnReadData(uint64_t number, const uint8_t* bytes, uint64_t length);
  Status OnWriteData(uint64_t number, const uint8_t* bytes, uint64_t length);
  Status OnOutcome(RecordKind kind, const Outcome& outcome);
  void RefuseWrite(uint64_t number, Served& served, Code why);
  bool SendSome(const Sender& sender);
  bool SendPart(RecordKind kind, uint64_t number, const std::vector<Slice>& slices, SliceCursor& cursor,
                uint64_t& left, Status& failed);
  void StopSending(bool serving, uint64_t number);
  void Tell(std::unordered_map<uint64_t, Asked>::iterator asked, Status status, uint64_t value = 0);

  TransportContext& context_;
  TransportStats& stats_;
  Round& round_;
  Outgoing& out_;
  Listener listener_;
  std::optional<Requester> requester_;

  std::unordered_map<uint64_t, Asked> asked_;
  std::unordered_map<uint64_t, Served> served_;
  std::deque<Sender> sending_;  // in turns
  std::vector<Completion> untold_;
  size_t outstanding_ = 0;
  bool wants_room_ = false;
};

}  // namespace splitplane::shm
