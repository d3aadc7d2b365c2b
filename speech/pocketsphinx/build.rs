//! Links PocketSphinx 0.8+5prealpha, which Debian and Ubuntu have as libpocketsphinx-dev.

fn main() {
    // pkg-config would also name libsphinxad, which records sound and is not needed.
    println!("cargo::rustc-link-lib=pocketsphinx");
    println!("cargo::rustc-link-lib=sphinxbase");
    println!("cargo::rerun-if-changed=build.rs");
}
