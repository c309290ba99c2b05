//! Settings of the copies in a bucket.

use std::time::Duration;

use store::Terms;

use crate::args::Secret;

#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Args {
    /// Bucket that gets a copy of every Parquet file, such as s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or
    /// file:///folder; none when not set. Collectors may share one. What is not set below comes from the variables of each cloud,
    /// AWS_… for S3; needed are the rights to get, put, list and delete. A new prefix gets the files that are not copied yet
    #[arg(long, env = "FAULTLINE_S3_OUT_URL")]
    pub s3_out_url: Option<String>,

    /// Address of an S3 server that is not Amazon's, such as http://127.0.0.1:9000
    #[arg(long, env = "FAULTLINE_S3_OUT_ENDPOINT")]
    pub s3_out_endpoint: Option<String>,

    /// Region of the bucket; AWS_REGION, or else us-east-1, when not set
    #[arg(long, env = "FAULTLINE_S3_OUT_REGION")]
    pub s3_out_region: Option<String>,

    /// Access key; AWS_ACCESS_KEY_ID, or else the role of the machine, when not set
    #[arg(long, env = "FAULTLINE_S3_OUT_ACCESS_KEY_ID")]
    pub s3_out_access_key_id: Option<String>,

    /// Secret of that key; better given as a variable than typed
    #[arg(long, env = "FAULTLINE_S3_OUT_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub s3_out_secret_access_key: Option<Secret>,

    /// Copy a file when it is this old, seconds. A quiet hour is merged after 900: later than that few files are copied twice, and each
    /// request is paid for. What a lost disk takes with it is not in the bucket: shorter keeps more
    #[arg(long, env = "FAULTLINE_S3_OUT_AGE_MIN_SECONDS", default_value_t = 1200)]
    pub s3_out_age_min_seconds: u64,

    /// Keep a copy that a merged file replaced for this long, seconds: a query may still read it, and an hour is long for one
    #[arg(long, env = "FAULTLINE_S3_OUT_REPLACED_AGE_MIN_SECONDS", default_value_t = 3600)]
    pub s3_out_replaced_age_min_seconds: u64,

    /// Larger files go in parts of this size, bytes, two under way while a third is read; S3 takes none below 5 MiB
    #[arg(long, env = "FAULTLINE_S3_OUT_PART_BYTES", default_value_t = 8 << 20, value_parser = at_least_one)]
    pub s3_out_part_bytes: usize,
}

impl Args {
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            age_min: Duration::from_secs(self.s3_out_age_min_seconds),
            replaced_age_min: Duration::from_secs(self.s3_out_replaced_age_min_seconds),
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("a part has at least one byte".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}
