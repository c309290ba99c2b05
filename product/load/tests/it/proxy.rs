//! A wire over real sockets: what passes, and what it is told.

use product_load::proxy::{Args, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::http::send;

fn args(target: std::net::SocketAddr) -> Args {
    let free = "127.0.0.1:0".parse().unwrap();
    Args {
        proxy_listen: free,
        proxy_target: target,
        proxy_control: free,
        proxy_delay_ms: 0,
        proxy_jitter_ms: 0,
        proxy_loss: 0.0,
        proxy_bandwidth_bytes_s: 0,
        proxy_seed: 1,
    }
}

async fn told(control: &str) -> Value {
    reqwest::get(control).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn bytes_pass_both_ways_until_the_proxy_ends() {
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = echo.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = echo.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    let server = Server::bind(args(target)).await.unwrap();
    let (address, control) = (server.address(), format!("http://{}/internal/network", server.control_address()));
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));

    let sent: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    let text = sent.clone();
    tokio::spawn(async move {
        to.write_all(&text).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let mut returned = Vec::new();
    from.read_to_end(&mut returned).await.unwrap();
    assert!(returned == sent, "{} of {} bytes, or others", returned.len(), sent.len());
    assert_eq!(told(&control).await["carried_bytes"], json!(4_000_000));

    let mut open = TcpStream::connect(address).await.unwrap();
    open.write_all(b"a").await.unwrap();
    assert_eq!(open.read_u8().await.unwrap(), b'a');
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(matches!(open.read(&mut [0]).await, Ok(0) | Err(_)), "the wire is cut");
}

#[tokio::test]
async fn the_network_is_changed_over_http_and_nonsense_is_refused() {
    let server = Server::bind(args("127.0.0.1:1".parse().unwrap())).await.unwrap();
    let (address, control) = (server.address(), format!("http://{}/internal/network", server.control_address()));
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    let slow = json!({"delay_ms": 50, "jitter_ms": 10, "loss": 0.01, "bandwidth_bytes_s": 1_000_000});
    assert_eq!(send("PUT", control.clone(), &slow).await, 200);
    assert_eq!(told(&control).await["network"], slow);
    for nonsense in [json!({"loss": 1}), json!({"delay_ms": -1}), json!({"delays_ms": 1}), json!(7)] {
        assert_eq!(send("PUT", control.clone(), &nonsense).await, 422, "{nonsense}");
    }
    assert_eq!(told(&control).await["network"], slow, "nothing has changed");
    assert_eq!(send("PUT", control.clone(), &json!({})).await, 200);
    assert_eq!(told(&control).await["network"]["delay_ms"], json!(0), "what is left out is perfect");

    let mut nobody = TcpStream::connect(address).await.unwrap();
    assert!(matches!(nobody.read(&mut [0]).await, Ok(0) | Err(_)), "nobody is behind it, so it closes");
    stop.cancel();
    running.await.unwrap().unwrap();
}
