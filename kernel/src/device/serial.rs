// SPDX-License-Identifier: MPL-2.0

//! Serial ports: 16550 UARTs at the four ISA addresses.
//!
//! # Role
//! Moves bytes between a UART and its terminal ([`super::tty::Tty`]). The first port belongs to OSTD's early console, which
//! the kernel log shares; its registers are reached through OSTD's handle, one byte at a time. The others are ours, with
//! FIFOs. A port that does not answer does not exist.
//!
//! # Protocol
//! - Receive: the interrupt empties the UART into a small ring and wakes the worker thread, which runs the line discipline in
//!   task context (keys send signals, which the interrupt must not). A full ring masks the interrupt: the sender is held
//!   back by the UART until the terminal has been read.
//! - Transmit: whoever produced output calls [`SerialPort::pump`], which fills the UART's FIFO as long as it empties. If it
//!   does not, the transmit interrupt is enabled, and the worker goes on later.
//!
//! # Concurrency
//! The UART's lock is taken with IRQs disabled; inside it the terminal's state may be locked ([`SerialPort::pump`]), never
//! the other way round.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ostd::{
    arch::{
        device::io_port::ReadWriteAccess,
        irq::{IRQ_CHIP, MappedIrqLine},
        serial::SERIAL_PORT,
    },
    io::IoPort,
    irq::IrqLine,
    sync::{Waiter, Waker},
    task::TaskOptions,
};
use spin::Once;

use super::tty::Tty;
use crate::{prelude::*, process::TaskData};

/// Base address and ISA interrupt of the four ports.
const PORTS: [(u16, u8); 4] = [(0x3f8, 4), (0x2f8, 3), (0x3e8, 5), (0x2e8, 7)];
/// Bytes of a 16550's FIFOs.
const FIFO_SIZE: usize = 16;
/// Received bytes that wait for the worker.
const RING_SIZE: usize = 4096;

/// Interrupt Enable Register: received data; transmitter empty.
const IER_RECEIVE: u8 = 1;
const IER_TRANSMIT: u8 = 2;
/// Line Status Register: data ready; transmit holding register empty; everything sent.
const LSR_DATA: u8 = 1;
const LSR_EMPTY: u8 = 0x20;
const LSR_IDLE: u8 = 0x40;

static EXISTING: Once<Vec<Arc<SerialPort>>> = Once::new();
static WORKER: Once<Arc<Waker>> = Once::new();

/// A serial port and its terminal.
pub struct SerialPort {
    /// 0 for `ttyS0`.
    index: usize,
    uart: SpinLock<Uart, LocalIrqDisabled>,
    tty: Once<Arc<Tty>>,
    /// The worker is to look at it.
    needs_service: AtomicBool,
    /// The ISA interrupt, and how often it came.
    irq: u8,
    interrupts: AtomicU64,
}

struct Uart {
    registers: Box<dyn Registers>,
    fifo_size: usize,
    interrupts: u8,
    received: VecDeque<u8>,
    /// The ring was full: the receive interrupt is masked until the worker made room.
    is_held_back: bool,
    /// Keeps the interrupt mapped.
    _irq: Option<MappedIrqLine>,
}

/// A UART's registers, ours or OSTD's.
trait Registers: Send + Sync {
    fn data_ready(&mut self) -> bool;
    fn can_send(&mut self) -> bool;
    /// Whether everything has left, the last byte too.
    fn is_idle(&mut self) -> bool;
    fn receive(&mut self) -> u8;
    fn send(&mut self, byte: u8);
    fn set_interrupts(&mut self, mask: u8);
}

/// Finds the ports, starts their interrupts and the worker. Call once, after the scheduler is there.
pub fn init() {
    let mut ports = Vec::new();
    for (index, (base, irq)) in PORTS.into_iter().enumerate() {
        let (registers, fifo_size): (Box<dyn Registers>, usize) = match index {
            0 => (Box::new(ConsoleRegisters { byte: None }), 1),
            _ => match OwnRegisters::probe(base) {
                Some(registers) => (Box::new(registers), FIFO_SIZE),
                None => continue,
            },
        };
        ports.push(SerialPort::start(index, registers, fifo_size, irq));
    }
    EXISTING.call_once(|| ports);
    start_worker();
}

/// The ports that exist.
pub fn ports() -> &'static [Arc<SerialPort>] {
    EXISTING.get().map(Vec::as_slice).unwrap_or(&[])
}

impl SerialPort {
    fn start(index: usize, registers: Box<dyn Registers>, fifo_size: usize, irq: u8) -> Arc<Self> {
        let uart = Uart {
            registers,
            fifo_size,
            interrupts: IER_RECEIVE,
            received: VecDeque::with_capacity(RING_SIZE),
            is_held_back: false,
            _irq: None,
        };
        let uart = SpinLock::new(uart);
        let (tty, needs_service, interrupts) = (Once::new(), AtomicBool::new(false), AtomicU64::new(0));
        let port = Arc::new(Self { index, uart, tty, needs_service, irq, interrupts });
        port.tty.call_once(|| Tty::new_serial(index as u32, port.clone()));
        match map_interrupt(&port, irq) {
            Some(line) => port.uart.lock()._irq = Some(line),
            None => ostd::warn!("ttyS{index}: no interrupt, no input"),
        }
        port.uart.lock().set_interrupts(IER_RECEIVE);
        port
    }

    /// 0 for `ttyS0`.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The ISA interrupt.
    pub fn irq(&self) -> u8 {
        self.irq
    }

    /// How often it interrupted.
    pub fn interrupts(&self) -> u64 {
        self.interrupts.load(Ordering::Relaxed)
    }

    /// The terminal on the line.
    pub fn tty(&self) -> Option<&Arc<Tty>> {
        self.tty.get()
    }

    /// Sends output of the terminal as far as the UART takes it; the rest follows by interrupt.
    pub fn pump(&self) {
        let Some(tty) = self.tty.get() else {
            return;
        };
        loop {
            let mut uart = self.uart.lock();
            if !uart.registers.can_send() {
                // Comes also if the UART has emptied since: enabling it asks for one.
                let interrupts = uart.interrupts | IER_TRANSMIT;
                return uart.set_interrupts(interrupts);
            }
            let mut bytes = [0; FIFO_SIZE];
            let (count, pending) = tty.take_output(&mut bytes[..uart.fifo_size]);
            bytes[..count].iter().for_each(|byte| uart.registers.send(*byte));
            drop(uart);
            // Writers hear of the room only now: they must not be woken under the lock of the UART.
            drop(pending);
            if count == 0 {
                return;
            }
        }
    }

    /// Whether all bytes that the UART took have gone over the line.
    pub fn is_idle(&self) -> bool {
        self.uart.lock().registers.is_idle()
    }

    /// The terminal has room again.
    pub fn unthrottle(&self) {
        self.needs_service.store(true, Ordering::Release);
        wake_worker();
    }

    fn on_interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::Relaxed);
        let mut uart = self.uart.lock();
        uart.fill_ring();
        // The transmit interrupt is a one-shot request of `pump`.
        if uart.interrupts & IER_TRANSMIT != 0 {
            let interrupts = uart.interrupts & !IER_TRANSMIT;
            uart.set_interrupts(interrupts);
        }
        drop(uart);
        // Release pairs with the worker's Acquire: it sees what was received.
        self.needs_service.store(true, Ordering::Release);
        wake_worker();
    }

    /// The worker's part: hands received bytes to the terminal, and goes on sending.
    fn serve(&self) {
        let Some(tty) = self.tty.get() else {
            return;
        };
        loop {
            let mut chunk = [0; 256];
            let count = {
                let mut uart = self.uart.lock();
                uart.fill_ring();
                uart.copy_received(&mut chunk)
            };
            let taken = tty.receive(&chunk[..count]);
            let mut uart = self.uart.lock();
            uart.received.drain(..taken);
            if taken == 0 {
                break;
            }
            uart.release();
        }
        self.pump();
    }
}

impl Uart {
    fn set_interrupts(&mut self, mask: u8) {
        self.interrupts = mask;
        self.registers.set_interrupts(mask);
    }

    fn fill_ring(&mut self) {
        while self.registers.data_ready() {
            if self.received.len() >= RING_SIZE {
                self.is_held_back = true;
                let interrupts = self.interrupts & !IER_RECEIVE;
                return self.set_interrupts(interrupts);
            }
            let byte = self.registers.receive();
            self.received.push_back(byte);
        }
    }

    fn copy_received(&self, chunk: &mut [u8]) -> usize {
        let count = self.received.len().min(chunk.len());
        chunk.iter_mut().zip(&self.received).for_each(|(to, from)| *to = *from);
        count
    }

    /// There is room in the ring again.
    fn release(&mut self) {
        if core::mem::take(&mut self.is_held_back) {
            let interrupts = self.interrupts | IER_RECEIVE;
            self.set_interrupts(interrupts);
        }
    }
}

fn map_interrupt(port: &Arc<SerialPort>, irq: u8) -> Option<MappedIrqLine> {
    let mut line = IrqLine::alloc().ok()?;
    let handled = Arc::downgrade(port);
    line.on_active(move |_| {
        if let Some(port) = handled.upgrade() {
            port.on_interrupt();
        }
    });
    IRQ_CHIP.get()?.map_isa_pin_to(line, irq).ok()
}

/// The thread that runs line disciplines of received bytes.
fn start_worker() {
    let body = || {
        let (waiter, waker) = Waiter::new_pair();
        WORKER.call_once(|| waker);
        loop {
            for port in ports() {
                if port.needs_service.swap(false, Ordering::Acquire) {
                    port.serve();
                }
            }
            waiter.wait();
        }
    };
    match TaskOptions::new(body).data(TaskData::Kernel).spawn() {
        Ok(_) => {}
        Err(error) => ostd::error!("no thread for serial input: {error:?}"),
    }
}

fn wake_worker() {
    if let Some(waker) = WORKER.get() {
        waker.wake_up();
    }
}

/// The registers of a port of ours.
struct OwnRegisters {
    data: IoPort<u8, ReadWriteAccess>,
    interrupt_enable: IoPort<u8, ReadWriteAccess>,
    fifo_control: IoPort<u8, ReadWriteAccess>,
    line_control: IoPort<u8, ReadWriteAccess>,
    modem_control: IoPort<u8, ReadWriteAccess>,
    line_status: IoPort<u8, ReadWriteAccess>,
    scratch: IoPort<u8, ReadWriteAccess>,
}

impl OwnRegisters {
    /// Takes the ports and initialises the UART: 115200 baud, 8 bits, FIFOs. `None` if nothing answers.
    fn probe(base: u16) -> Option<Self> {
        let port = |offset: u16| IoPort::acquire(base + offset).ok();
        let registers = Self {
            data: port(0)?,
            interrupt_enable: port(1)?,
            fifo_control: port(2)?,
            line_control: port(3)?,
            modem_control: port(4)?,
            line_status: port(5)?,
            scratch: port(7)?,
        };
        // A bus without a device reads as all ones and keeps nothing.
        for pattern in [0x5a, 0xa5] {
            registers.scratch.write(pattern);
            if registers.scratch.read() != pattern {
                return None;
            }
        }
        registers.interrupt_enable.write(0);
        registers.line_control.write(0x80); // The divisor latch: 115200 / 1.
        registers.data.write(1);
        registers.interrupt_enable.write(0);
        registers.line_control.write(0x03); // Eight bits, no parity, one stop bit.
        registers.fifo_control.write(0xc7); // FIFOs on and cleared, interrupt at 14 bytes or when input pauses.
        registers.modem_control.write(0x0b); // DTR, RTS, and OUT2, which connects the interrupt.
        Some(registers)
    }
}

impl Registers for OwnRegisters {
    fn data_ready(&mut self) -> bool {
        self.line_status.read() & LSR_DATA != 0
    }

    fn can_send(&mut self) -> bool {
        self.line_status.read() & LSR_EMPTY != 0
    }

    fn is_idle(&mut self) -> bool {
        self.line_status.read() & LSR_IDLE != 0
    }

    fn receive(&mut self) -> u8 {
        self.data.read()
    }

    fn send(&mut self, byte: u8) {
        self.data.write(byte);
    }

    fn set_interrupts(&mut self, mask: u8) {
        // The identification register stays unread: reading it takes back a transmit interrupt that is pending, and one that is
        // enabled already would not come again. Disabling it is acknowledgement enough.
        self.interrupt_enable.write(mask);
    }
}

/// The first port, through OSTD. Its driver has no "can I send": it waits, which on a machine without a real line is short.
struct ConsoleRegisters {
    /// A byte that was received to see whether there is one.
    byte: Option<u8>,
}

impl Registers for ConsoleRegisters {
    fn data_ready(&mut self) -> bool {
        if self.byte.is_none() {
            self.byte = SERIAL_PORT.get().and_then(|port| port.lock().recv());
        }
        self.byte.is_some()
    }

    fn can_send(&mut self) -> bool {
        true
    }

    fn is_idle(&mut self) -> bool {
        true
    }

    fn receive(&mut self) -> u8 {
        self.byte.take().unwrap_or(0)
    }

    fn send(&mut self, byte: u8) {
        if let Some(port) = SERIAL_PORT.get() {
            port.lock().send(byte);
        }
    }

    fn set_interrupts(&mut self, _mask: u8) {
        // OSTD has enabled the receive interrupt for good; `SerialAccess` does not let others write its registers.
    }
}
