//! Rebuilds when a migration is added: `sqlx::migrate!` embeds them and cargo does not see the folder.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
