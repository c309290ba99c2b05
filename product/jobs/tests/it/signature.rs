//! A receiver can tell by the signature that a webhook is ours, without our help.

use sha2::{Digest, Sha256};

use crate::stack::{SECRET, Stack, handle, payment};

/// HMAC as RFC 2104 writes it, with nothing of the code under test: H(key ^ opad, H(key ^ ipad, text)).
fn hmac_sha256(key: &[u8], text: &[u8]) -> String {
    let mut block = [0u8; 64];
    block[..key.len()].copy_from_slice(key);
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    hex::encode(Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize())
}

#[test]
fn the_computation_of_this_test_is_right() {
    // RFC 4231, test case 2.
    assert_eq!(
        hmac_sha256(b"Jefe", b"what do ya want for nothing?"),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[tokio::test]
async fn a_webhook_is_signed_with_the_shared_secret_over_its_time_and_body() {
    let stack = Stack::new().await;
    handle(&stack.jobs().await, &payment(1, "payment.captured", "Two tickets")).await.unwrap();
    let webhook = stack.merchant.webhooks().pop().unwrap();
    let (time, signature) = webhook.signature.split_once(",v1=").unwrap();
    let seconds: u64 = time.strip_prefix("t=").unwrap().parse().unwrap();
    let signed =
        |secret: &str, seconds: u64, body: &str| hmac_sha256(secret.as_bytes(), format!("{seconds}.{body}").as_bytes());
    assert_eq!(signature, signed(SECRET, seconds, &webhook.body));
    assert_ne!(signature, signed("another", seconds, &webhook.body));
    assert_ne!(signature, signed(SECRET, seconds + 1, &webhook.body));
    assert_ne!(signature, signed(SECRET, seconds, &webhook.body.replace("1250", "9250")));
}
