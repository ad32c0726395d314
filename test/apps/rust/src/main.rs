// SPDX-License-Identifier: MPL-2.0

//! Mio over pipes, with its `Waker`, as an event loop uses them.
//!
//! Built twice: in Mio's default mode (epoll and eventfd) and with `--cfg mio_unsupported_force_poll_poll` (poll and a
//! pipe). The transcript on standard output does not depend on the mode, the machine or the timing, so it can be compared
//! byte by byte; what varies (how often the loop turned) is not printed.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::unix::pipe::{self, Receiver, Sender};
use mio::{Events, Interest, Poll, Token, Waker};

const WAKER: Token = Token(100);

fn main() -> io::Result<()> {
    println!("waker: woken {} times", waker_wakes(20)?);
    println!("timeout: {}", timeout_is_not_early()?);
    println!("readable: {}", readable()?);
    println!("closed: {}", closed()?);
    println!("back-pressure: {} bytes", back_pressure(1 << 20)?);
    println!("fan-in: {:?}", fan_in(8, 5000)?);
    println!("re-register: {}", reregister()?);
    println!("done");
    Ok(())
}

/// Polls until an event for `token` comes; Mio allows spurious wake-ups, so others are dropped.
fn await_event(poll: &mut Poll, events: &mut Events, token: Token) -> io::Result<mio::event::Event> {
    loop {
        poll.poll(events, Some(Duration::from_secs(60)))?;
        if let Some(event) = events.iter().find(|e| e.token() == token) {
            return Ok(event.clone());
        }
        if events.is_empty() {
            return Err(io::Error::new(ErrorKind::TimedOut, "no event came"));
        }
    }
}

/// Another thread wakes the loop, one wake at a time.
fn waker_wakes(count: usize) -> io::Result<usize> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let mut woken = 0;
    for _ in 0..count {
        let remote = Arc::clone(&waker);
        let thread = thread::spawn(move || remote.wake());
        await_event(&mut poll, &mut events, WAKER)?;
        woken += 1;
        thread.join().expect("the waking thread panicked")?;
    }
    Ok(woken)
}

fn timeout_is_not_early() -> io::Result<&'static str> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    for micros in [1, 300, 1000, 2500, 7000] {
        let timeout = Duration::from_micros(micros);
        let start = Instant::now();
        poll.poll(&mut events, Some(timeout))?;
        if start.elapsed() < timeout || !events.is_empty() {
            return Ok("EARLY");
        }
    }
    Ok("never early")
}

fn readable() -> io::Result<String> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    let (mut sender, mut receiver) = pipe::new()?;
    poll.registry().register(&mut receiver, Token(1), Interest::READABLE)?;
    poll.poll(&mut events, Some(Duration::ZERO))?;
    assert!(events.is_empty());
    sender.write_all(b"over the pipe")?;
    let event = await_event(&mut poll, &mut events, Token(1))?;
    assert!(event.is_readable() && !event.is_writable());
    let mut text = [0; 64];
    let length = receiver.read(&mut text)?;
    assert_eq!(receiver.read(&mut text[length..]).unwrap_err().kind(), ErrorKind::WouldBlock);
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

fn closed() -> io::Result<String> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    let (sender, mut receiver) = pipe::new()?;
    poll.registry().register(&mut receiver, Token(1), Interest::READABLE)?;
    drop(sender);
    let event = await_event(&mut poll, &mut events, Token(1))?;
    let reader = event.is_read_closed();
    let (mut sender, receiver) = pipe::new()?;
    poll.registry().register(&mut sender, Token(2), Interest::WRITABLE)?;
    drop(receiver);
    let event = await_event(&mut poll, &mut events, Token(2))?;
    Ok(format!("reader {}, writer {}", reader, event.is_write_closed() || event.is_error()))
}

/// Writes more than the pipe holds while a slow thread reads: the loop must be told each time there is room again.
fn back_pressure(total: usize) -> io::Result<usize> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    let (mut sender, receiver) = pipe::new()?;
    poll.registry().register(&mut sender, Token(1), Interest::WRITABLE)?;
    let reader = thread::spawn(move || read_to_end_blocking(receiver));
    let chunk = [7; 8192];
    let mut written = 0;
    while written < total {
        match sender.write(&chunk[..chunk.len().min(total - written)]) {
            Ok(n) => written += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                await_event(&mut poll, &mut events, Token(1))?;
            }
            Err(e) => return Err(e),
        }
    }
    drop(sender);
    reader.join().expect("the reader panicked")
}

fn read_to_end_blocking(mut receiver: Receiver) -> io::Result<usize> {
    receiver.set_nonblocking(false)?;
    let mut bytes = Vec::new();
    receiver.read_to_end(&mut bytes)
}

/// Threads write each into a pipe of its own; the loop drains edges until every pipe is closed.
fn fan_in(writers: usize, bytes_each: usize) -> io::Result<Vec<usize>> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(3);
    let mut receivers = Vec::new();
    let mut threads = Vec::new();
    for index in 0..writers {
        let (sender, mut receiver) = pipe::new()?;
        poll.registry().register(&mut receiver, Token(index), Interest::READABLE)?;
        receivers.push(Some(receiver));
        threads.push(thread::spawn(move || write_in_pieces(sender, bytes_each, index + 1)));
    }
    let mut counts = vec![0; writers];
    while receivers.iter().any(Option::is_some) {
        poll.poll(&mut events, Some(Duration::from_secs(60)))?;
        for event in &events {
            let index = event.token().0;
            if let Some(receiver) = &mut receivers[index] {
                if drain(receiver, &mut counts[index])? {
                    receivers[index] = None;
                }
            }
        }
    }
    for thread in threads {
        thread.join().expect("a writer panicked")?;
    }
    Ok(counts)
}

fn write_in_pieces(mut sender: Sender, total: usize, piece: usize) -> io::Result<()> {
    sender.set_nonblocking(false)?;
    let bytes = vec![1; piece * 100];
    let mut left = total;
    while left > 0 {
        left -= sender.write(&bytes[..left.min(bytes.len())])?;
    }
    Ok(())
}

/// Reads until the pipe is empty (false) or at its end (true).
fn drain(receiver: &mut Receiver, count: &mut usize) -> io::Result<bool> {
    let mut bytes = [0; 512];
    loop {
        match receiver.read(&mut bytes) {
            Ok(0) => return Ok(true),
            Ok(n) => *count += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        }
    }
}

/// Registered anew, a pipe that is still readable is reported again, under its new token; deregistered, never.
fn reregister() -> io::Result<&'static str> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    let (mut sender, mut receiver) = pipe::new()?;
    poll.registry().register(&mut receiver, Token(1), Interest::READABLE)?;
    sender.write_all(b"x")?;
    await_event(&mut poll, &mut events, Token(1))?;
    poll.registry().reregister(&mut receiver, Token(2), Interest::READABLE)?;
    await_event(&mut poll, &mut events, Token(2))?;
    poll.registry().deregister(&mut receiver)?;
    poll.poll(&mut events, Some(Duration::from_millis(5)))?;
    Ok(if events.is_empty() { "as told" } else { "REPORTED AFTER DEREGISTER" })
}
