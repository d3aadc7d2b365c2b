//! The console's socket in the data directory: bound, connected to, kept.
//!
//! The name of a Unix socket has 107 bytes at most. Under a longer path both sides name it by a
//! descriptor of its folder, `/proc/self/fd/N/console.sock`, which the kernel follows like a link.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::AsRawFd,
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

/// The name of the socket in the data directory.
const SOCKET: &str = "console.sock";
/// The folder in which it is made.
const FRESH: &str = "console.new";
/// `sun_path` has 108 bytes, the last of them zero.
const LONGEST: usize = 107;

/// A path of a socket that the kernel takes, and what keeps it valid.
struct Short {
    path: PathBuf,
    _folder: Option<File>,
}

impl Short {
    fn of(folder: &Path) -> io::Result<Self> {
        let path = folder.join(SOCKET);
        if path.as_os_str().as_bytes().len() <= LONGEST {
            return Ok(Self { path, _folder: None });
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let folder = OpenOptions::new().read(true).custom_flags(flags.bits()).open(folder)?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()).into();
        Ok(Self { path, _folder: Some(folder) })
    }
}

/// The path as people know it.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

/// Connects to the server that uses the data directory. Blocks.
pub(crate) fn connect(data_dir: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(Short::of(data_dir)?.path)
}

/// The bound socket; its file goes when this is dropped.
pub(crate) struct Bound {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl Bound {
    /// Binds the socket, for its owner alone from its first instant. The caller holds the lock of
    /// the data directory, so whatever has its name is left over. Blocks.
    ///
    /// # Errors
    /// A folder with something in it has its name, or the data directory cannot be written.
    pub(crate) fn new(data_dir: &Path) -> io::Result<Self> {
        let path = path(data_dir);
        // Made in a folder that nobody else may enter, and renamed: the umask belongs to all
        // threads, and a rename leaves no instant without a socket.
        let fresh = data_dir.join(FRESH);
        remove(&fresh)?;
        fs::DirBuilder::new().mode(0o700).create(&fresh)?;
        let bound = Self::bind_in(&fresh, &path);
        let _ = fs::remove_dir_all(&fresh);
        bound
    }

    fn bind_in(fresh: &Path, path: &Path) -> io::Result<Self> {
        // The umask may have taken more away than is needed.
        fs::set_permissions(fresh, fs::Permissions::from_mode(0o700))?;
        let listener = UnixListener::bind(Short::of(fresh)?.path)?;
        listener.set_nonblocking(true)?;
        let made = fresh.join(SOCKET);
        fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
        let file = identity(&fs::symlink_metadata(&made)?);
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
            fs::remove_dir(path)?;
        }
        fs::rename(&made, path)?;
        Ok(Self { listener, path: path.to_owned(), file })
    }

    /// Whether the name still leads to this socket. Blocks.
    pub(crate) fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.file_type().is_socket() && identity(&found) == self.file)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn remove(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err),
    };
    if found.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixDatagram};

    use super::*;

    fn connects(bound: &Bound, data_dir: &Path) -> bool {
        connect(data_dir).is_ok() && bound.listener.accept().is_ok()
    }

    #[test]
    fn a_path_of_any_length_is_bound_and_connected_to() {
        let root = tempfile::tempdir().unwrap();
        for length in [1, 60, 92, 93, 94, 95, 96, 107, 108, 140, 1000, 3500] {
            let mut folder = root.path().join(length.to_string());
            let part = "d".repeat(length.min(200));
            while folder.as_os_str().as_bytes().len() < length {
                folder.push(&part);
            }
            fs::create_dir_all(&folder).unwrap();
            let bound = Bound::new(&folder).unwrap();
            assert!(bound.is_in_place() && connects(&bound, &folder), "{length}");
            let mode = fs::metadata(path(&folder)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{length}");
            drop(bound);
            assert!(fs::read_dir(&folder).unwrap().next().is_none(), "{length}: something stays");
            assert_eq!(connect(&folder).unwrap_err().kind(), ErrorKind::NotFound, "{length}");
        }
    }

    #[test]
    fn what_has_the_name_gives_way_unless_it_holds_something() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        let elsewhere = dir.path().join("elsewhere");
        type Leftover<'a> = &'a dyn Fn();
        let leftovers: [(&str, Leftover<'_>); 5] = [
            ("a file", &|| fs::write(&path, "x").unwrap()),
            ("a socket", &|| drop(UnixListener::bind(&path).unwrap())),
            ("a datagram socket", &|| drop(UnixDatagram::bind(&path).unwrap())),
            ("a dangling link", &|| symlink(&elsewhere, &path).unwrap()),
            ("an empty folder", &|| fs::create_dir(&path).unwrap()),
        ];
        for (name, leave) in leftovers {
            leave();
            let bound = Bound::new(dir.path()).unwrap();
            assert!(connects(&bound, dir.path()), "{name}");
            assert!(!elsewhere.exists(), "{name}");
        }
        fs::create_dir(&path).unwrap();
        fs::write(path.join("kept"), "x").unwrap();
        assert!(Bound::new(dir.path()).is_err());
        assert!(path.join("kept").exists());
    }

    #[test]
    fn one_that_was_replaced_is_noticed_and_what_replaced_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        let bound = Bound::new(dir.path()).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!bound.is_in_place());
        fs::write(&path, "somebody's").unwrap();
        drop(bound);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
    }
}
