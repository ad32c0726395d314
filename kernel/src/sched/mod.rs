// SPDX-License-Identifier: MPL-2.0

//! The scheduler: one FIFO run queue per CPU, time slices, balancing on wake-up and when a CPU runs dry.
//!
//! # Role
//! Decides which task runs where. [`init`] injects it into OSTD, which calls it on ticks, sleeps, wake-ups and exits.
//!
//! # Protocol
//! - A woken task goes to an idle CPU if its last one is busy and another idles, else to the tail of its last CPU's queue.
//! - A CPU whose queue is empty steals the longest waiting task of the longest queue, and only then runs its idle task.
//! - The idle task lingers and then halts the CPU; an enqueue on a CPU that idles and does not linger names it to OSTD, which
//!   kicks it by an interrupt.
//! - A task is preempted on its way to user mode when its slice is over and another task waits, never inside the kernel.
//!
//! # Quiescent states
//! OSTD frees what was unmapped once every CPU has switched tasks. So that memory comes back however CPUs are busy or idle,
//! a CPU that did not switch for [`QUIESCENCE_TICKS`] switches to an idle task, which hands back at once. For a CPU that
//! idles there are two idle tasks, which take turns.
//!
//! # Invariants
//! 1. A task's `schedule_info().cpu` is `Some(c)` exactly while it runs on `c`, waits in `c`'s queue or is on its way there.
//!    It turns `None` only in `dequeue_current`, under the queue's lock. A task that has ended keeps its `Some(c)` for ever:
//!    whoever was about to wake it when it left finds it so, and does not bring it back (2).
//! 2. OSTD enqueues a task that was woken before it slept, too. `enqueue` then finds `Some(c)` and, by taking `c`'s lock,
//!    waits until the sleeper has either looked at its wake flag or given up the CPU (1). So no wake-up is lost.
//!
//! 3. A task in a CPU's queue is off every other CPU: its context is saved. Else two CPUs could each wait for the task that
//!    the other one is just leaving, with IRQs off, for ever. A task that is not off its CPU yet is queued there and not stolen.
//!
//! # Concurrency
//! Each queue has one spin lock, taken with IRQs disabled: callers are in any context. No function holds two of them.
//! Lengths and idle flags are mirrored in atomics so that choosing a CPU takes no lock; a stale value only costs balance.

use core::{
    hint::spin_loop,
    sync::atomic::{
        AtomicBool, AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use ostd::{
    cpu::{CpuId, PinCurrentCpu, all_cpus, num_cpus},
    irq::{DisabledLocalIrqGuard, disable_local},
    task::{
        Task, TaskOptions, disable_preempt, halt_cpu,
        scheduler::{EnqueueFlags, LocalRunQueue, Scheduler, UpdateFlags, enable_preemption_on_cpu, inject_scheduler},
    },
    util::id_set::Id,
};

use spin::Once;

use crate::{
    prelude::*,
    process::{TaskData, Thread},
    time, vm,
};

/// Timer ticks (1 ms each) that a task may run while another one waits.
pub const SLICE_TICKS: u32 = 4;

/// Ticks after which a CPU switches tasks even if nothing waits: see *Quiescent states*.
const QUIESCENCE_TICKS: u32 = 10;

/// How long a CPU without tasks waits for one before it halts.
const LINGER_NANOS: u64 = 100_000;

/// Injects the scheduler into OSTD. Call once, on the boot CPU, before the first task exists.
pub fn init() {
    let queues = (0..num_cpus()).map(|_| CpuQueue::new()).collect();
    let scheduler = SCHEDULER.call_once(|| FifoScheduler { queues });
    inject_scheduler(scheduler);
}

/// Tasks of programs that run or wait for a CPU.
pub fn runnable() -> usize {
    let queues = SCHEDULER.get().map(|scheduler| &*scheduler.queues).unwrap_or(&[]);
    queues.iter().map(|queue| queue.waiting.load(Relaxed) + usize::from(!queue.is_idle.load(Relaxed))).sum()
}

/// How often any CPU switched to another task.
pub fn switches() -> u64 {
    let queues = SCHEDULER.get().map(|scheduler| &*scheduler.queues).unwrap_or(&[]);
    queues.iter().map(|queue| queue.switches.load(Relaxed)).sum()
}

static SCHEDULER: Once<FifoScheduler> = Once::new();

/// Starts ticks on this CPU and becomes its idle task, which runs `first` and then idles. Every CPU calls this at the end of
/// its boot; the boot CPU starts the first program in `first`, because a task is needed to switch away from.
pub fn run_idle_on_cpu(first: fn()) -> ! {
    time::init_on_cpu();
    enable_preemption_on_cpu();
    run_idle_task(move || {
        run_idle_task(idle);
        first();
        idle();
    });
    loop {
        // The boot context is no task: the first switch away from it never comes back.
        Task::yield_now();
    }
}

/// For the hook that runs when this CPU has switched: the task that it left is off it.
pub fn on_switched(irq_guard: &DisabledLocalIrqGuard) {
    let cpu = irq_guard.current_cpu();
    if let Some(queue) = SCHEDULER.get().and_then(|scheduler| scheduler.queues.get(cpu.as_usize())) {
        // Only this CPU writes. Release pairs with the Acquire in `is_off_cpu`.
        queue.departures.store(queue.departures.load(Relaxed) + 1, Release);
    }
}

fn run_idle_task(body: impl FnOnce() + Send + 'static) {
    let task = TaskOptions::new(body).data(TaskData::Idle).build();
    Arc::new(task.expect("no memory for an idle task at boot")).run();
}

/// The life of an idle task.
fn idle() {
    let mut switches = 0;
    loop {
        let before = switches_here();
        Task::yield_now();
        let now = switches_here();
        // Others have run, and this task is back. Perhaps only for the sake of a quiescent state: then the task that was
        // preempted waits in the queue.
        if now != before || time::poll_while_idle() {
            continue;
        }
        if core::mem::replace(&mut switches, now) != now {
            if linger() {
                continue;
            }
        } else {
            // Idle for longer than a moment: lets go of the address space that was active last.
            vm::nowhere().space().activate();
        }
        halt_cpu();
    }
}

/// A CPU that has just run out of tasks waits a while for one that another CPU wakes: whoever passes work to and fro by pipe or
/// socket is back soon, and it takes much longer to wake a halted processor, of a virtual machine above all (Linux's
/// `haltpoll`). Meanwhile it looks for tasks itself, so it is spared the interrupt (Linux's `TIF_POLLING_NRFLAG`). Returns
/// whether a task came.
fn linger() -> bool {
    let cpu = disable_preempt().current_cpu();
    let Some(queue) = SCHEDULER.get().filter(|_| num_cpus() > 1).map(|scheduler| scheduler.queue(cpu)) else {
        return false;
    };
    queue.inner.lock().is_lingering = true;
    let until = time::now_monotonic().saturating_add(LINGER_NANOS);
    while queue.waiting.load(Relaxed) == 0 && time::now_monotonic() < until {
        spin_loop();
    }
    // Under the lock: a task that came before this is seen here, one that comes after it brings an interrupt.
    let mut run_queue = queue.inner.lock();
    run_queue.is_lingering = false;
    run_queue.has_waiting()
}

/// How often this CPU switched to another task.
fn switches_here() -> u64 {
    let cpu = disable_preempt().current_cpu();
    SCHEDULER.get().map_or(0, |scheduler| scheduler.queue(cpu).switches.load(Relaxed))
}

/// A task that waits for a CPU or has one, with its thread at hand: to find that behind the task costs more than to keep it.
struct Runnable {
    task: Arc<Task>,
    /// The thread that the task runs, if it runs a program's.
    thread: Option<Arc<Thread>>,
}

impl Runnable {
    /// An idle task, which is never queued, is handed back.
    fn new(task: Arc<Task>) -> core::result::Result<Self, Arc<Task>> {
        let thread = match task.data().downcast_ref() {
            Some(TaskData::User(thread)) => Some(thread.clone()),
            Some(TaskData::Idle) => return Err(task),
            Some(TaskData::Kernel) | None => None,
        };
        Ok(Self { task, thread })
    }

    fn thread(&self) -> Option<&Thread> {
        self.thread.as_deref()
    }
}

struct FifoScheduler {
    queues: Box<[CpuQueue]>,
}

/// A CPU's queue, and mirrors of what choosing a CPU wants to know.
struct CpuQueue {
    inner: SpinLock<RunQueue, LocalIrqDisabled>,
    /// Number of tasks waiting in `inner`.
    waiting: AtomicUsize,
    /// Whether the CPU runs its idle task or none.
    is_idle: AtomicBool,
    /// How often it switched to another task.
    switches: AtomicU64,
    /// How many switches away from a task it has completed. Only the CPU itself writes.
    departures: AtomicU64,
}

struct RunQueue {
    current: Option<Runnable>,
    ready: VecDeque<Runnable>,
    /// The task that gave way for a quiescent state. It is next, and here, for it is still being switched away from: no
    /// other CPU may take it.
    paused: Option<Runnable>,
    /// The idle tasks.
    idle: Vec<Arc<Task>>,
    /// `current` is about to be dequeued because it has ended.
    is_ending: bool,
    /// The CPU looks for tasks by itself: no interrupt has to tell it of one.
    is_lingering: bool,
    /// Ticks since `current` was picked.
    ticks: u32,
    /// How often another task was picked.
    switches: u64,
}

impl CpuQueue {
    fn new() -> Self {
        let inner = RunQueue {
            current: None,
            ready: VecDeque::with_capacity(64),
            paused: None,
            idle: Vec::new(),
            is_ending: false,
            is_lingering: false,
            ticks: 0,
            switches: 0,
        };
        Self {
            inner: SpinLock::new(inner),
            waiting: AtomicUsize::new(0),
            is_idle: AtomicBool::new(true),
            switches: AtomicU64::new(0),
            departures: AtomicU64::new(0),
        }
    }

    /// The number that `departures` will have when the task that now leaves is off this CPU.
    fn next_departure(&self) -> u64 {
        self.departures.load(Relaxed) + 1
    }

    fn is_idle(&self) -> bool {
        self.is_idle.load(Relaxed) && self.waiting.load(Relaxed) == 0
    }

    /// Brings the mirrors up to date, under the lock of `inner`.
    fn mirror(&self, run_queue: &RunQueue) {
        self.waiting.store(run_queue.ready.len() + usize::from(run_queue.paused.is_some()), Relaxed);
        self.is_idle.store(run_queue.runs_nothing(), Relaxed);
        self.switches.store(run_queue.switches, Relaxed);
    }
}

impl RunQueue {
    fn runs_nothing(&self) -> bool {
        self.current.as_ref().is_none_or(|current| self.is_idle(current))
    }

    fn is_idle(&self, runnable: &Runnable) -> bool {
        runnable.thread.is_none() && self.idle.iter().any(|task| Arc::ptr_eq(task, &runnable.task))
    }

    fn has_waiting(&self) -> bool {
        !self.ready.is_empty() || self.paused.is_some()
    }

    /// Whether it is time to switch for the sake of a quiescent state.
    fn is_quiescence_due(&self) -> bool {
        self.ticks >= QUIESCENCE_TICKS && self.idle.len() > 1
    }

    /// An idle task that does not run.
    fn spare_idle_task(&self) -> Option<Runnable> {
        let is_spare = |task: &&Arc<Task>| !self.current.as_ref().is_some_and(|c| Arc::ptr_eq(&c.task, task));
        let task = self.idle.iter().find(is_spare)?;
        Some(Runnable { task: task.clone(), thread: None })
    }
}

impl FifoScheduler {
    fn queue(&self, cpu: CpuId) -> &CpuQueue {
        &self.queues[cpu.as_usize()]
    }

    /// The CPU for a task that becomes runnable: that of `thread`, or of the kernel's own.
    fn choose_cpu(&self, thread: Option<&Thread>, flags: EnqueueFlags) -> CpuId {
        let Some(thread) = thread else {
            return disable_preempt().current_cpu();
        };
        let is_allowed = |cpu: &CpuId| thread.sched.may_run_on(*cpu);
        if let Some(cpu) = thread.sched.last_cpu()
            && !self.is_off_cpu(thread, cpu)
        {
            return cpu; // Invariant 3.
        }
        let home = match flags {
            EnqueueFlags::Wake => thread.sched.last_cpu().filter(is_allowed),
            EnqueueFlags::Spawn => None,
        };
        let home = home.unwrap_or_else(|| self.least_loaded(is_allowed));
        if self.queue(home).is_idle() {
            return home;
        }
        let idle = all_cpus().find(|cpu| self.queue(*cpu).is_idle() && is_allowed(cpu));
        idle.unwrap_or(home)
    }

    /// Whether the context of a thread that left `cpu`, its last one, is saved.
    fn is_off_cpu(&self, thread: &Thread, cpu: CpuId) -> bool {
        // Acquire pairs with the Release in `on_switched`.
        self.queue(cpu).departures.load(Acquire) >= thread.sched.departure()
    }

    fn least_loaded(&self, is_allowed: impl Fn(&CpuId) -> bool) -> CpuId {
        let load = |cpu: &CpuId| {
            let queue = self.queue(*cpu);
            queue.waiting.load(Relaxed) * 2 + usize::from(!queue.is_idle.load(Relaxed))
        };
        all_cpus().filter(is_allowed).min_by_key(load).unwrap_or(CpuId::bsp())
    }

    /// Takes the longest waiting task of the longest other queue that may run on `thief`.
    fn steal_for(&self, thief: CpuId) -> Option<Runnable> {
        let others = all_cpus().filter(|cpu| *cpu != thief);
        let victim = others.max_by_key(|cpu| self.queue(*cpu).waiting.load(Relaxed))?;
        let queue = self.queue(victim);
        if queue.waiting.load(Relaxed) == 0 {
            return None;
        }
        let mut run_queue = queue.inner.lock();
        let may_move = |runnable: &Runnable| {
            runnable.thread().is_some_and(|thread| thread.sched.may_run_on(thief) && self.is_off_cpu(thread, victim))
        };
        let position = run_queue.ready.iter().position(may_move)?;
        let stolen = run_queue.ready.remove(position)?;
        stolen.task.schedule_info().cpu.set_anyway(thief);
        queue.mirror(&run_queue);
        Some(stolen)
    }

    fn adopt_idle_task(&self, task: Arc<Task>) -> Option<CpuId> {
        let cpu = disable_preempt().current_cpu();
        task.schedule_info().cpu.set_anyway(cpu);
        self.queue(cpu).inner.lock().idle.push(task);
        Some(cpu)
    }
}

impl Scheduler for FifoScheduler {
    fn enqueue(&self, task: Arc<Task>, flags: EnqueueFlags) -> Option<CpuId> {
        let runnable = match Runnable::new(task) {
            Ok(runnable) => runnable,
            Err(idle_task) => return self.adopt_idle_task(idle_task),
        };
        let home = &runnable.task.schedule_info().cpu;
        loop {
            if let Some(cpu) = home.get() {
                let _run_queue = self.queue(cpu).inner.lock();
                if home.get() == Some(cpu) {
                    return None; // It runs, or will (invariant 2).
                }
                continue;
            }
            let cpu = self.choose_cpu(runnable.thread(), flags);
            let queue = self.queue(cpu);
            let mut run_queue = queue.inner.lock();
            if home.set_if_is_none(cpu).is_err() {
                continue;
            }
            if let Some(thread) = runnable.thread() {
                thread.sched.set_runnable(true);
            }
            run_queue.ready.push_back(runnable);
            queue.mirror(&run_queue);
            return (run_queue.runs_nothing() && !run_queue.is_lingering).then_some(cpu);
        }
    }

    fn local_rq_with(&self, f: &mut dyn FnMut(&dyn LocalRunQueue)) {
        let irq_guard = disable_local();
        let cpu = irq_guard.current_cpu();
        let queue = self.queue(cpu);
        let departure = queue.next_departure();
        f(&LocalQueue { cpu, departure, run_queue: &mut queue.inner.lock() });
    }

    fn mut_local_rq_with(&self, f: &mut dyn FnMut(&mut dyn LocalRunQueue)) {
        let irq_guard = disable_local();
        let cpu = irq_guard.current_cpu();
        let queue = self.queue(cpu);
        // Stealing takes the victim's lock, so it comes before taking our own.
        let stolen = if queue.is_idle() { self.steal_for(cpu) } else { None };
        let mut run_queue = queue.inner.lock();
        if let Some(stolen) = stolen {
            run_queue.ready.push_back(stolen);
        }
        let departure = queue.next_departure();
        f(&mut LocalQueue { cpu, departure, run_queue: &mut run_queue });
        queue.mirror(&run_queue);
    }
}

/// A CPU's run queue under its lock, as OSTD sees it.
struct LocalQueue<'a> {
    cpu: CpuId,
    /// See [`CpuQueue::next_departure`].
    departure: u64,
    run_queue: &'a mut RunQueue,
}

impl LocalRunQueue for LocalQueue<'_> {
    fn current(&self) -> Option<&Arc<Task>> {
        self.run_queue.current.as_ref().map(|current| &current.task)
    }

    fn update_current(&mut self, flags: UpdateFlags) -> bool {
        let run_queue = &mut *self.run_queue;
        let has_ready = run_queue.has_waiting();
        if flags == UpdateFlags::Exit {
            run_queue.is_ending = true;
        }
        match flags {
            UpdateFlags::Tick => {
                run_queue.ticks += 1;
                let is_over = run_queue.ticks >= SLICE_TICKS || run_queue.runs_nothing();
                (has_ready && is_over) || run_queue.is_quiescence_due()
            }
            UpdateFlags::Yield => has_ready || run_queue.is_quiescence_due(),
            UpdateFlags::Wait | UpdateFlags::Exit => has_ready || !run_queue.idle.is_empty(),
        }
    }

    // Inlined into `pick_next`, which is how it is called most.
    #[inline(always)]
    fn try_pick_next(&mut self) -> Option<&Arc<Task>> {
        let run_queue = &mut *self.run_queue;
        let waiting = run_queue.paused.take().or_else(|| run_queue.ready.pop_front());
        let is_pause = waiting.is_none() && run_queue.current.is_some();
        if is_pause && !run_queue.is_quiescence_due() {
            return None;
        }
        // An idle task is for a CPU whose task is gone; one that can run goes on.
        let next = waiting.or_else(|| run_queue.spare_idle_task())?;
        if let Some(thread) = next.thread() {
            thread.sched.set_last_cpu(self.cpu);
            thread.sched.set_departure(u64::MAX);
        }
        run_queue.switches += 1;
        run_queue.ticks = 0;
        let previous = run_queue.current.replace(next).filter(|previous| !run_queue.is_idle(previous));
        if let Some(previous) = previous {
            if let Some(thread) = previous.thread() {
                thread.sched.count_preemption();
                thread.sched.set_departure(self.departure);
            }
            if is_pause {
                run_queue.paused = Some(previous);
            } else {
                run_queue.ready.push_back(previous);
            }
        }
        run_queue.current.as_ref().map(|current| &current.task)
    }

    fn dequeue_current(&mut self) -> Option<Arc<Task>> {
        let current = self.run_queue.current.take()?;
        if let Some(thread) = current.thread() {
            thread.sched.set_runnable(false);
            thread.sched.set_departure(self.departure);
        }
        if !core::mem::take(&mut self.run_queue.is_ending) {
            current.task.schedule_info().cpu.set_to_none();
        }
        Some(current.task)
    }
}
