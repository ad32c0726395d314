# SPDX-License-Identifier: MPL-2.0
"""An echo server on asyncio, and its clients.

    asyncio_echo.py serve PORT PATH                        until SIGTERM
    asyncio_echo.py clients PORT|PATH COUNT SECONDS        exit status 0 if every answer was right
"""

import asyncio
import signal
import sys
import time


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def serve(port, path):
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    tcp = await asyncio.start_server(echo, "127.0.0.1", int(port), backlog=256)
    unix = await asyncio.start_unix_server(echo, path, backlog=256)
    async with tcp, unix:
        await done.wait()


async def client(where, number, deadline):
    connect = asyncio.open_unix_connection(where) if "/" in where else asyncio.open_connection("127.0.0.1", int(where))
    reader, writer = await connect
    turns = 0
    while True:
        message = bytes([number % 256]) * (1 + (number * 97 + turns * 31) % 2000)
        writer.write(message)
        await writer.drain()
        answer = await reader.readexactly(len(message))
        if answer != message:
            raise ValueError(f"client {number}: a wrong answer in turn {turns}")
        turns += 1
        if time.monotonic() >= deadline:
            break
    writer.write_eof()
    if await reader.read():
        raise ValueError(f"client {number}: more than was sent")
    writer.close()
    await writer.wait_closed()
    return turns


async def clients(where, count, seconds):
    begun = time.monotonic()
    turns = await asyncio.gather(*(client(where, i, begun + float(seconds)) for i in range(int(count))))
    print(f"{sum(turns)} echoes, {sum(turns) / (time.monotonic() - begun):.0f} per second, "
          f"the slowest client had {min(turns)}")


if sys.argv[1] == "serve":
    asyncio.run(serve(*sys.argv[2:]))
else:
    asyncio.run(clients(*sys.argv[2:]))
