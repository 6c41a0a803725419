//! A gateway's HTTP door under load: connections that send one message after another, and the end that its news are told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::smpp::Done;

/// Takes calls on a port of its own, answers each `ACK/Jasmin` (Kannel takes any 200), and counts them. Its threads live as long as the
/// program.
pub fn ends(calls: Arc<AtomicU64>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a port for calls")?;
    let at = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let calls = Arc::clone(&calls);
            std::thread::spawn(move || {
                let _ = answer(stream, &calls);
            });
        }
    });
    Ok(at)
}

fn answer(mut stream: TcpStream, calls: &AtomicU64) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(length) = head(&mut reader)?.map(|head| head.1) {
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        calls.fetch_add(1, Ordering::Relaxed);
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nACK/Jasmin",
        )?;
    }
    Ok(())
}

/// First line and length of the body; `None`: the connection has ended.
fn head(reader: &mut BufReader<TcpStream>) -> Result<Option<(String, u64)>> {
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(Some((first, length)));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().context("a length")?;
        }
    }
}

/// Asks for `target` again and again on one connection, or on a new one where the other end closes it, until it is told to stop. Gives
/// the microseconds of each answer that was measured. `rate`: requests a second; 0: one after the other.
pub fn sender(at: SocketAddr, target: &str, rate: f64, done: &Done) -> Result<Vec<u32>> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let mut took = Vec::new();
    let mut link: Option<(TcpStream, BufReader<TcpStream>)> = None;
    let (begun, mut sent) = (Instant::now(), 0u64);
    while !done.stop.load(Ordering::Relaxed) {
        let due = if rate > 0.0 { begun + Duration::from_secs_f64(sent as f64 / rate) } else { begun };
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if link.is_none() {
            let stream = TcpStream::connect(at).with_context(|| format!("the HTTP door on {at}"))?;
            stream.set_nodelay(true)?;
            link = Some((stream.try_clone()?, BufReader::new(stream)));
        }
        let Some((stream, reader)) = &mut link else { continue };
        let asked = Instant::now();
        let answered = match stream.write_all(request.as_bytes()) {
            Ok(()) => head(reader).ok().flatten(),
            Err(_) => None,
        };
        let Some((first, length)) = answered else {
            link = None;
            continue;
        };
        sent += 1;
        done.sent.fetch_add(1, Ordering::Relaxed);
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        let good = first.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
        if good { &done.accepted } else { &done.refused }.fetch_add(1, Ordering::Relaxed);
        if done.measure.load(Ordering::Relaxed) {
            took.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
    Ok(took)
}
