# This process's slot in the segment.

cdef class Worker:
    cdef readonly Segment segment
    cdef readonly int slot
    cdef ev_heartbeat heartbeat

    def __init__(self, Segment segment not None, int slot):
        segment._slot(slot)
        self.segment = segment
        self.slot = slot
        ev_store32(&ev_worker_at(&segment.seg, slot).pid, os.getpid())

    def start_heartbeat(self, double interval=0.1, double ping=0.5):
        if self.heartbeat.running:
            return
        _check(ev_heartbeat_start(&self.heartbeat, &self.segment.seg, self.slot, _ns(interval), _ns(ping)),
               "cannot start the heart-beat thread")

    def stop_heartbeat(self):
        ev_heartbeat_stop(&self.heartbeat)

    def __dealloc__(self):
        ev_heartbeat_stop(&self.heartbeat)

    def set_ready(self):
        """Not when the supervisor has decided otherwise meanwhile."""
        ev_worker_is_ready(&self.segment.seg, self.slot)

    def set_draining(self):
        ev_set_worker_state(&self.segment.seg, self.slot, EV_WORKER_DRAINING)

    def draining(self):
        return ev_load32(&ev_worker_at(&self.segment.seg, self.slot).state) == EV_WORKER_DRAINING

    def active(self):
        cdef ev_worker_slot *w = ev_worker_at(&self.segment.seg, self.slot)
        return sum([ev_load32(&w.thread[t].active) for t in range(self.segment.seg.hdr.threads)])

    def drained(self):
        return self.draining() and self.segment.worker_acked(self.slot, EV_WORKER_DRAINING) and self.active() == 0

    def wait_blocked(self, double limit, double timeout):
        cdef ev_worker_slot *w = ev_worker_at(&self.segment.seg, self.slot)
        cdef uint64_t until = efio_now_ns() + _ns(timeout), limit_ns = _ns(limit), now, ping
        cdef uint32_t t, n = self.segment.seg.hdr.threads
        cdef int found = -1
        cdef double blocked = 0
        with nogil:
            while found < 0:
                now = efio_now_ns()
                for t in range(n):
                    if ev_load32(&w.thread[t].state) != EV_THREAD_RUNNING:
                        continue
                    ping = ev_load64(&w.thread[t].ping_ns)
                    if ping and now > ping and now - ping >= limit_ns:
                        found = t
                        blocked = (now - ping) / 1e9
                        break
                if found >= 0 or now >= until:
                    break
                usleep(50000)
        return None if found < 0 else (found, blocked)

    def set_thread_blocked(self, int thread):
        """No more requests for this scheduler thread until it comes round again."""
        cdef ev_worker_slot *w = ev_worker_at(&self.segment.seg, self.slot)
        if 0 <= thread < <int>self.segment.seg.hdr.threads:
            ev_store32(&w.thread[thread].state, EV_THREAD_BLOCKED)
