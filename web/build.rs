//! Lists the files of `static/` for the Management Interface, so that none can be forgotten.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

/// Folders that the API document's page serves by itself.
const OF_OTHERS: [&str; 2] = ["docs", "swagger-ui"];

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let folder = manifest.join("../static").canonicalize()?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    collect(&folder, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
        let name = file.strip_prefix(&folder).expect("found below it").to_string_lossy();
        // Writing to a string does not fail.
        let _ = writeln!(table, "({name:?}, include_bytes!({:?})),", file.to_string_lossy());
    }
    table.push_str("]\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("set by cargo"));
    fs::write(out.join("interface_files.rs"), table)
}

/// Every file below `folder` but documents and licences, which nobody's browser asks for.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let served = |extension: &str| !matches!(extension, "md" | "txt");
        let others =
            path.file_name().is_some_and(|name| OF_OTHERS.iter().any(|other| name == *other));
        if path.is_dir() {
            if !others {
                collect(&path, files)?;
            }
        } else if path.extension().and_then(|end| end.to_str()).is_some_and(served) {
            files.push(path);
        }
    }
    Ok(())
}
