//! Pictures of strangers.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use reqwest::{Method, StatusCode};

use crate::app::{Answer, Customer, TestApp};

#[tokio::test]
async fn a_picture_comes_back_small() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.customer("ada").await, app.customer("bob").await);
    assert_eq!(ada.get("/v1/profile/avatar").await.status, StatusCode::NOT_FOUND);
    for (kind, format) in [("image/png", ImageFormat::Png), ("image/jpeg", ImageFormat::Jpeg)] {
        assert_eq!(put(&ada, kind, picture(640, 480, format)).await.status, StatusCode::NO_CONTENT, "{kind}");
        let answer = ada.request(Method::GET, "/v1/profile/avatar").send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "image/png");
        let small = image::load_from_memory_with_format(&answer.bytes().await.unwrap(), ImageFormat::Png).unwrap();
        assert_eq!((small.width(), small.height()), (128, 128));
    }
    assert_eq!(bob.get("/v1/profile/avatar").await.status, StatusCode::NOT_FOUND, "it is hers");
    app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_leaves_the_old_picture() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    let png = picture(64, 64, ImageFormat::Png);
    assert_eq!(put(&ada, "image/png", png.clone()).await.status, StatusCode::NO_CONTENT);
    let before = ada.request(Method::GET, "/v1/profile/avatar").send().await.unwrap().bytes().await.unwrap();
    for (kind, bytes, expected) in [
        ("image/png", b"<svg/>".to_vec(), StatusCode::UNPROCESSABLE_ENTITY),
        ("image/jpeg", png.clone(), StatusCode::UNPROCESSABLE_ENTITY),
        ("image/png", picture(4_097, 1, ImageFormat::Png), StatusCode::UNPROCESSABLE_ENTITY),
        ("image/gif", png.clone(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("image/png", vec![0; 1024 * 1024 + 1], StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(put(&ada, kind, bytes).await.status, expected, "{kind}");
    }
    let after = ada.request(Method::GET, "/v1/profile/avatar").send().await.unwrap().bytes().await.unwrap();
    assert_eq!(before, after);
    app.stop().await;
}

async fn put(customer: &Customer<'_>, kind: &str, bytes: Vec<u8>) -> Answer {
    customer.send(customer.request(Method::PUT, "/v1/profile/avatar").header("content-type", kind).body(bytes)).await
}

fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, Rgb([200, 30, 80])).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}
