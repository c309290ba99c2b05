//! An address and settings as a client of whatever keeps objects there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientConfigKey, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use super::Args;

/// The client, and the folder in it.
pub(super) fn open(url: &str, args: &Args, timeout: Duration) -> anyhow::Result<(Arc<dyn ObjectStore>, Path)> {
    let what = "an address such as s3://bucket/prefix, gs://…, az://… or file:///folder";
    let parsed = Url::parse(url).with_context(|| format!("{url} is not {what}"))?;
    let (scheme, folder) = ObjectStoreScheme::parse(&parsed).with_context(|| format!("{url} is not {what}"))?;
    if scheme != ObjectStoreScheme::AmazonS3 && args.is_for_s3() {
        bail!("--s3-out-endpoint, -region and keys are for s3://…; {url} takes its own from the environment");
    }
    let timeout = format!("{} s", timeout.as_secs());
    let client: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::AmazonS3 => Arc::new(amazon(url, args, &timeout)?.build()?),
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url).with_retry(once());
            Arc::new(builder.with_config(GoogleConfigKey::Client(ClientConfigKey::Timeout), timeout).build()?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(url).with_retry(once());
            Arc::new(builder.with_config(AzureConfigKey::Client(ClientConfigKey::Timeout), timeout).build()?)
        }
        ObjectStoreScheme::Local => Arc::new(LocalFileSystem::new()),
        _ => bail!("{url} is not {what}"),
    };
    Ok((client, folder))
}

fn amazon(url: &str, args: &Args, timeout: &str) -> anyhow::Result<AmazonS3Builder> {
    let mut builder = AmazonS3Builder::from_env().with_url(url).with_retry(once());
    let secret = args.s3_out_secret_access_key.as_ref().map(|secret| secret.reveal().to_owned());
    let settings = [
        (AmazonS3ConfigKey::Endpoint, args.s3_out_endpoint.clone()),
        (AmazonS3ConfigKey::Region, args.s3_out_region.clone()),
        (AmazonS3ConfigKey::AccessKeyId, args.s3_out_access_key_id.clone()),
        (AmazonS3ConfigKey::SecretAccessKey, secret),
        (AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), Some(timeout.to_owned())),
    ];
    for (key, value) in settings {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    if args.s3_out_access_key_id.is_some() != args.s3_out_secret_access_key.is_some() {
        bail!("--s3-out-access-key-id and --s3-out-secret-access-key go together");
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        // Said by who wrote the address.
        builder = builder.with_allow_http(true);
    }
    // The server checks what arrived before it says that it has it.
    Ok(builder.with_checksum_algorithm(Checksum::SHA256))
}

/// No retry in the client: whoever copies tries again, later each time, and says so; two loops multiply.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

impl Args {
    fn is_for_s3(&self) -> bool {
        self.s3_out_endpoint.is_some()
            || self.s3_out_region.is_some()
            || self.s3_out_access_key_id.is_some()
            || self.s3_out_secret_access_key.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::args::test_args;

    fn check(url: &str, words: &[&str]) -> Result<String, String> {
        let args = test_args(words).bucket;
        let opened = open(url, &args, Duration::from_secs(30));
        opened.map(|(client, folder)| format!("{client} {folder}")).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn an_address_says_who_keeps_the_objects_and_where() {
        let keys =
            ["--s3-out-access-key-id=k", "--s3-out-secret-access-key=hush", "--s3-out-endpoint=http://127.0.0.1:9"];
        assert_eq!(check("s3://shop/a/b", &keys).as_deref(), Ok("AmazonS3(shop) a/b"));
        assert_eq!(check("s3://shop/a/b/", &[]).as_deref(), Ok("AmazonS3(shop) a/b"));
        assert_eq!(check("s3://shop", &[]).as_deref(), Ok("AmazonS3(shop) "));
        let local = check("file:///var/copies", &[]).unwrap();
        assert!(local.starts_with("LocalFileSystem(") && local.ends_with(" var/copies"), "{local}");
    }

    #[test]
    fn an_address_or_a_setting_that_makes_no_sense_is_told_without_the_secret() {
        for (url, words, part) in [
            ("shop/a", &[][..], "s3://bucket/prefix"),
            ("ftp://shop/a", &[], "s3://bucket/prefix"),
            ("memory:///a", &[], "s3://bucket/prefix"),
            ("s3://shop", &["--s3-out-secret-access-key=hush"], "go together"),
            ("file:///a", &["--s3-out-region=x"], "are for s3://"),
        ] {
            let error = check(url, words).unwrap_err();
            assert!(error.contains(part) && !error.contains("hush"), "{url}: {error}");
        }
        let args = test_args(&["--s3-out-secret-access-key=hush"]);
        assert!(!format!("{args:?}").contains("hush"));
    }
}
