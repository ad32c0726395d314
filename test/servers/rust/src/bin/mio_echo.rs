// SPDX-License-Identifier: MPL-2.0

//! An echo server and its clients on Mio, one thread each.
//!
//! `mio_echo serve ADDRESS` serves until killed; `mio_echo clients ADDRESS COUNT SECONDS` fails if an answer is wrong or
//! none comes for a minute.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX - 1);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

fn main() -> io::Result<()> {
    match echo::Role::from_args() {
        echo::Role::Server { address } => serve(address),
        echo::Role::Clients { address, count, time } => ask(address, count, time),
    }
}

/// `None` where the call would block.
fn unless_it_blocks<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
    }
}

/// The server's side of a connection: what was read and not yet written.
struct Connection {
    stream: TcpStream,
    pending: Vec<u8>,
}

impl Connection {
    /// Reads and writes until neither goes on. `false` at the end of the connection.
    fn advance(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            while !self.pending.is_empty() {
                match unless_it_blocks(self.stream.write(&self.pending))? {
                    Some(n) => drop(self.pending.drain(..n)),
                    None => return Ok(true),
                }
            }
            match unless_it_blocks(self.stream.read(buffer))? {
                Some(0) => return Ok(false),
                Some(n) => self.pending.extend_from_slice(&buffer[..n]),
                None => return Ok(true),
            }
        }
    }
}

fn serve(address: SocketAddr) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections = HashMap::new();
    let mut next = 0;
    let mut buffer = vec![0; 65536];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Some((mut stream, _)) = unless_it_blocks(listener.accept())? {
                    poll.registry().register(&mut stream, Token(next), BOTH)?;
                    connections.insert(Token(next), Connection { stream, pending: Vec::new() });
                    next += 1;
                }
            } else if let Some(connection) = connections.get_mut(&event.token()) {
                // A client that died is not the server's trouble.
                if !connection.advance(&mut buffer).unwrap_or(false) {
                    if let Some(mut gone) = connections.remove(&event.token()) {
                        poll.registry().deregister(&mut gone.stream)?;
                    }
                }
            }
        }
    }
}

/// One client: a message on its way out, then on its way back.
struct Client {
    stream: TcpStream,
    number: usize,
    turn: usize,
    message: Vec<u8>,
    sent: usize,
    received: usize,
}

impl Client {
    fn new(stream: TcpStream, number: usize) -> Self {
        Self { stream, number, turn: 0, message: echo::message(number, 0), sent: 0, received: 0 }
    }

    /// Goes on until it would block, or the deadline has passed after a complete turn: then `false`.
    fn advance(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<bool> {
        loop {
            while self.sent < self.message.len() {
                match unless_it_blocks(self.stream.write(&self.message[self.sent..]))? {
                    Some(n) => self.sent += n,
                    None => return Ok(true),
                }
            }
            match unless_it_blocks(self.stream.read(buffer))? {
                Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Some(n) => self.check(&buffer[..n])?,
                None => return Ok(true),
            }
            if self.received == self.message.len() {
                self.turn += 1;
                if Instant::now() >= deadline {
                    return Ok(false);
                }
                self.message = echo::message(self.number, self.turn);
                (self.sent, self.received) = (0, 0);
            }
        }
    }

    fn check(&mut self, answer: &[u8]) -> io::Result<()> {
        let expected = self.message.get(self.received..self.received + answer.len());
        if expected != Some(answer) {
            return Err(io::Error::new(ErrorKind::InvalidData, "a wrong answer"));
        }
        self.received += answer.len();
        Ok(())
    }
}

fn ask(address: SocketAddr, count: usize, time: Duration) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    let begun = Instant::now();
    let mut clients = HashMap::new();
    for number in 0..count {
        let mut stream = TcpStream::connect(address)?;
        poll.registry().register(&mut stream, Token(number), BOTH)?;
        clients.insert(Token(number), Client::new(stream, number));
    }
    let mut buffer = vec![0; 65536];
    let mut turns = Vec::new();
    while !clients.is_empty() {
        poll.poll(&mut events, Some(echo::PATIENCE))?;
        if events.is_empty() {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("{} clients wait in vain", clients.len())));
        }
        for event in &events {
            let Some(client) = clients.get_mut(&event.token()) else { continue };
            match client.advance(&mut buffer, begun + time) {
                Ok(true) => {}
                // Not connected yet: an event will tell.
                Err(e) if e.kind() == ErrorKind::NotConnected => {}
                Err(e) => return Err(e),
                Ok(false) => {
                    turns.push(client.turn);
                    if let Some(mut done) = clients.remove(&event.token()) {
                        poll.registry().deregister(&mut done.stream)?;
                    }
                }
            }
        }
    }
    echo::report(&turns, begun.elapsed());
    Ok(())
}
