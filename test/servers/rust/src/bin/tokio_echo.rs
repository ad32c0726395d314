// SPDX-License-Identifier: MPL-2.0

//! An echo server and its clients on Tokio's multi-threaded runtime; usage as `mio_echo`.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::time::timeout;

fn main() -> io::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match echo::Role::from_args() {
        echo::Role::Server { address } => runtime.block_on(serve(address)),
        echo::Role::Clients { address, count, time } => runtime.block_on(ask(address, count, time)),
    }
}

async fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that died is not the server's trouble.
        tokio::spawn(async move { drop(answer(stream).await) });
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16384];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

/// One client until the deadline: how many turns it had.
async fn client(address: SocketAddr, number: usize, deadline: Instant) -> io::Result<usize> {
    let mut stream = TcpStream::connect(address).await?;
    let mut turn = 0;
    loop {
        let message = echo::message(number, turn);
        let mut received = vec![0; message.len()];
        stream.write_all(&message).await?;
        stream.read_exact(&mut received).await?;
        if received != message {
            return Err(io::Error::new(ErrorKind::InvalidData, "a wrong answer"));
        }
        turn += 1;
        if Instant::now() >= deadline {
            return Ok(turn);
        }
    }
}

async fn ask(address: SocketAddr, count: usize, time: Duration) -> io::Result<()> {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..count)
        .map(|number| tokio::spawn(timeout(time + echo::PATIENCE, client(address, number, begun + time))))
        .collect();
    let mut turns = Vec::new();
    for task in tasks {
        turns.push(task.await???);
    }
    echo::report(&turns, begun.elapsed());
    Ok(())
}
