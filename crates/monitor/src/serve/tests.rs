//! The endpoints over sockets.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use super::*;
use crate::site::fake::Fake;

/// Time that any step of a test may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves while `act` runs; `act` gets the address.
fn with_server<F: Future<Output = ()>>(act: impl FnOnce(std::net::SocketAddr) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(
            listener,
            router(Arc::new(Fake::default())),
            None,
            CONNECTIONS_MAX,
            async { drop(stopped.await) },
        ));
        timeout(PATIENCE, act(address)).await.unwrap();
        drop(stop);
        timeout(PATIENCE, server).await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
    });
}

async fn exchange(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as its end.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: std::net::SocketAddr, target: &str) -> String {
    exchange(
        address,
        format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
    )
    .await
}

/// Headers of streaming specification §8.1.
#[test]
fn headers_of_answers() {
    with_server(|address| async move {
        let health = get(address, "/healthz").await;
        assert!(
            health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("\r\n\r\n{\"status\":\"ok\"}"),
            "{health}"
        );
        assert!(health.contains("content-type: application/json\r\n"));
        assert!(health.contains("access-control-allow-origin: *\r\n"));
        let called = get(address, "/streaming/serverz?callback=f").await;
        assert!(called.contains("content-type: application/javascript\r\n") && !called.contains("access-control"));
        let index = get(address, "/streaming").await;
        assert!(index.contains("content-type: text/html; charset=utf-8\r\n") && index.contains("/streaming/channelsz"));
        let missing = get(address, "/streaming/clientsz?client=x").await;
        assert!(
            missing.starts_with("HTTP/1.1 404 ") && missing.ends_with("\r\n\r\nClient x not found\n"),
            "{missing}"
        );
        assert!(missing.contains("content-type: text/plain; charset=utf-8\r\n"));
        assert!(get(address, "/streaming/isFTActive").await.starts_with("HTTP/1.1 204 "));
        // Methods are not checked.
        let posted = exchange(
            address,
            b"POST /varz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
        assert!(posted.await.starts_with("HTTP/1.1 200 OK\r\n"));
    });
}

#[test]
fn hostile_requests_harm_nobody() {
    with_server(|address| async move {
        assert!(
            get(address, &format!("/varz?{}", "a".repeat(17_000)))
                .await
                .starts_with("HTTP/1.1 400 ")
        );
        for request in [
            &b"\x00\xff\r\n\r\n"[..],
            b"GET\r\n\r\n",
            &[b'a'; 200_000],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            let answer = exchange(address, request).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
    });
}

/// Silent connections, half requests and such as ask no more, many more than there are seats, keep nobody out.
#[test]
fn stuck_connections_keep_nobody_out() {
    with_server(|address| async move {
        let mut stuck = Vec::new();
        for number in 0..3 * CONNECTIONS_MAX {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request: &[u8] = match number % 3 {
                0 => b"",
                1 => b"GET /healthz HTTP/1.1\r\nHost: ",
                _ => b"GET /varz HTTP/1.1\r\nHost: x\r\n\r\n",
            };
            stream.write_all(request).await.unwrap();
            stuck.push(stream);
            if number % 64 == 0 {
                assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
            }
        }
        for _ in 0..10 {
            assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
        }
        // The first ones had to give way.
        let mut first = stuck.swap_remove(0);
        assert!(matches!(first.read(&mut [0; 16]).await, Ok(0) | Err(_)));
    });
}

/// Answers that nobody reads do not add up.
#[test]
fn long_answers_have_room_for_a_few() {
    let served = Served {
        site: Site::new(Arc::new(Fake::default())),
        unread: Arc::new(Semaphore::new(2 * SMALL_ANSWER_LEN + 2)),
    };
    let long = || served.admit(Reply::text("a".repeat(SMALL_ANSWER_LEN + 1)));
    let (first, second) = (long(), long());
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(long().status(), StatusCode::SERVICE_UNAVAILABLE);
    let small = served.admit(Reply::text("a".repeat(SMALL_ANSWER_LEN)));
    assert_eq!(small.status(), StatusCode::OK, "small ones need no room");
    drop(first);
    assert_eq!(long().status(), StatusCode::OK);
}
