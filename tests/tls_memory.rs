//! The memory of an idle TLS connection is bounded. The test is ignored because it measures;
//! `--nocapture` shows the numbers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // a test fails by panicking

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

use testkit::tls::{Authority, Client, Version};
use wininetd::model::plan::Tls;
use wininetd::tls::{Connection, Keys};

/// Counts the bytes that are allocated and not freed, in a single thread.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size().cast_signed(), Relaxed);
        // SAFETY: the caller of `alloc` fulfils the same conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size().cast_signed(), Relaxed);
        // SAFETY: the caller of `dealloc` fulfils the same conditions.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Input that returns its bytes and then `WouldBlock`.
struct Arrived<'a>(&'a [u8]);

impl Read for Arrived<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

fn idle(keys: &Keys, client: &Client, bytes: usize) -> isize {
    let mut client = client.connection();
    let mut up = Vec::new();
    let mut down = Vec::with_capacity(1 << 20);
    let mut buffer = vec![0; 64 << 10];
    let mut cost = 0;
    let before = LIVE.load(Relaxed);
    let mut server = Connection::new(keys).unwrap();
    cost += LIVE.load(Relaxed) - before;
    let mut sent = false;
    loop {
        up.clear();
        while client.wants_write() {
            client.write_tls(&mut up).unwrap();
        }
        if up.is_empty() && sent {
            break;
        }
        down.clear();
        let mut arrived = Arrived(&up);
        let before = LIVE.load(Relaxed);
        while server.wants_read() {
            if server.read_from(&mut arrived).is_err() {
                break;
            }
            let _ = server.read_plain(&mut buffer);
        }
        while server.wants_write() {
            server.write_to(&mut down).unwrap();
        }
        cost += LIVE.load(Relaxed) - before;
        let mut rest = &*down;
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
        if !client.is_handshaking() && !sent {
            sent = true;
            client.writer().write_all(&vec![7; bytes]).unwrap();
        }
    }
    assert!(!server.is_handshaking());
    cost
}

#[test]
#[ignore = "it measures"]
fn an_idle_connection_costs_less_than_ten_kib() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path()).server("localhost").write(folder.path());
    let path = |name: &str| folder.path().join(name);
    let mut files = Tls { certificate: path("cert.pem"), key: path("key.pem"), client_ca: None, crl: None };
    println!("the connection itself: {} bytes", size_of::<Connection>());
    for client_ca in [None, Some(path("ca.pem"))] {
        files.client_ca = client_ca;
        let keys = Keys::load(&files).unwrap();
        for version in [Version::V12, Version::V13] {
            let client = Client::with(&authority, version, &authority.client("alice"));
            for bytes in [0, 1, 32 << 10] {
                let cost = idle(&keys, &client, bytes);
                let asked = files.client_ca.is_some();
                println!(
                    "{version:?}, certificate asked for: {asked}, after {bytes} bytes: {cost} allocated"
                );
                assert!(cost + size_of::<Connection>().cast_signed() < 10 << 10);
            }
        }
    }
}
