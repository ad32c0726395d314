// SPDX-License-Identifier: MPL-2.0

//! What the echo programs have in common: their arguments, their messages, their report.

use std::net::SocketAddr;
use std::process;
use std::time::Duration;

/// How long a client waits before it takes the server for stuck.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a program was asked to be.
pub enum Role {
    /// `serve ADDRESS`
    Server { address: SocketAddr },
    /// `clients ADDRESS COUNT SECONDS`
    Clients { address: SocketAddr, count: usize, time: Duration },
}

impl Role {
    /// From the command line; ends the process if that makes no sense.
    pub fn from_args() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Self::parse(&args).unwrap_or_else(|| {
            eprintln!("usage: serve ADDRESS | clients ADDRESS COUNT SECONDS");
            process::exit(2)
        })
    }

    fn parse(args: &[&str]) -> Option<Self> {
        match args {
            ["serve", address] => Some(Self::Server { address: address.parse().ok()? }),
            ["clients", address, count, seconds] => Some(Self::Clients {
                address: address.parse().ok()?,
                count: count.parse().ok()?,
                time: Duration::from_secs(seconds.parse().ok()?),
            }),
            _ => None,
        }
    }
}

/// What client `number` says in its turn `turn`: 1 to 1000 bytes.
pub fn message(number: usize, turn: usize) -> Vec<u8> {
    let length = 1 + (number * 97 + turn * 31) % 1000;
    (0..length).map(|i| (number + turn + i) as u8).collect()
}

/// One line about the turns that the clients had.
pub fn report(turns: &[usize], elapsed: Duration) {
    let sum: usize = turns.iter().sum();
    let least = turns.iter().min().copied().unwrap_or(0);
    let rate = sum as f64 / elapsed.as_secs_f64();
    println!("{} clients, {sum} echoes, {rate:.0} per second, the slowest client had {least}", turns.len());
}
