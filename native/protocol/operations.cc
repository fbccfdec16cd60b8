// A hash table with linear probing, and an intrusive list.
#include "native/protocol/operations.h"

#include <utility>

#include "native/base/check.h"

namespace splitplane {

void OperationList::Append(Operation* operation) {
  operation->previous = last_;
  operation->next = nullptr;
  (last_ ? last_->next : first_) = operation;
  last_ = operation;
  size_++;
}

void OperationList::Remove(Operation* operation) {
  (operation->previous ? operation->previous->next : first_) = operation->next;
  (operation->next ? operation->next->previous : last_) = operation->previous;
  operation->previous = operation->next = nullptr;
  size_--;
}

void OperationList::Prepend(OperationList& front) {
  if (front.empty()) return;
  front.last_->next = first_;
  (first_ ? first_->previous : last_) = front.last_;
  first_ = front.first_;
  size_ += front.size_;
  front = OperationList();
}

OperationTable::~OperationTable() {
  for (Operation* operation : slots_) delete operation;
}

Operation* OperationTable::Add() {
  if (count_ * 2 >= slots_.size()) {
    std::vector<Operation*> old(slots_.size() * 2);
    std::swap(old, slots_);
    for (Operation* operation : old) {
      if (operation) Insert(operation);
    }
  }
  Operation* operation;
  if (spare_.empty()) {
    operation = new Operation();
  } else {
    operation = spare_.back().release();
    spare_.pop_back();
  }
  operation->id = ++last_id_;
  Insert(operation);
  count_++;
  return operation;
}

void OperationTable::Insert(Operation* operation) {
  size_t slot = HomeOf(operation->id);
  while (slots_[slot]) slot = After(slot);
  slots_[slot] = operation;
}

Operation* OperationTable::Find(OperationId id) const {
  for (size_t slot = HomeOf(id); slots_[slot]; slot = After(slot)) {
    if (slots_[slot]->id == id) return slots_[slot];
  }
  return nullptr;
}

void OperationTable::Remove(Operation* operation) {
  size_t hole = HomeOf(operation->id);
  while (slots_[hole] != operation) hole = After(hole);
  // What was pushed beyond the hole by it moves into it, so that a search may stop at the first empty place.
  for (size_t slot = After(hole); slots_[slot]; slot = After(slot)) {
    const size_t mask = slots_.size() - 1;
    const size_t home = HomeOf(slots_[slot]->id);
    if (((slot - home) & mask) >= ((slot - hole) & mask)) {
      slots_[hole] = slots_[slot];
      hole = slot;
    }
  }
  slots_[hole] = nullptr;
  count_--;
  std::unique_ptr<Operation> owned(operation);
  operation->slices.clear();  // may run callbacks of those whose memory it was
  if (spare_.size() == kSpareMax) return;
  std::vector<uint8_t> grant = std::move(operation->grant);
  *operation = Operation();
  operation->grant = std::move(grant);
  spare_.push_back(std::move(owned));
}

}  // namespace splitplane
