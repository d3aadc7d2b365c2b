//! Figures of the machine and of this process. Everything here blocks for an instant: run it on a
//! blocking thread.

use std::{
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
};

use sysinfo::{Disks, MINIMUM_CPU_UPDATE_INTERVAL, System};

/// Processors: two looks are needed to tell how busy they are, so one `System` is kept.
static PROCESSORS: LazyLock<Mutex<Option<System>>> = LazyLock::new(|| Mutex::new(None));

/// What the processors are and do.
#[derive(Debug)]
pub(crate) struct Processors {
    /// 0 to 100, over all of them, since the look before.
    pub(crate) usage_percentage: f32,
    pub(crate) architecture: String,
    pub(crate) model_name: String,
    pub(crate) vendor: String,
    pub(crate) count: usize,
    pub(crate) hyperthreading: bool,
    /// Sorted, separated by blanks.
    pub(crate) flags: String,
}

/// Looks at the processors; the first look of a process takes 200 ms longer.
pub(crate) fn processors() -> Processors {
    let mut kept = PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_none() {
        *kept = System::new().ok();
        if let Some(system) = kept.as_mut() {
            system.refresh_cpu_all();
            std::thread::sleep(MINIMUM_CPU_UPDATE_INTERVAL);
        }
    }
    let details = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let detail = |key: &str| {
        let mut lines = details.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| name.trim() == key).map_or("", |(_, value)| value.trim())
    };
    let number = |key: &str| detail(key).parse::<u32>().unwrap_or(0);
    let mut flags: Vec<&str> =
        [detail("flags"), detail("Features")].iter().flat_map(|all| all.split(' ')).collect();
    flags.retain(|flag| !flag.is_empty());
    flags.sort_unstable();
    let mut found = Processors {
        usage_percentage: 0.0,
        architecture: System::cpu_arch().to_uppercase(),
        model_name: detail("model name").to_owned(),
        vendor: detail("vendor_id").to_owned(),
        count: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        hyperthreading: number("siblings") > number("cpu cores"),
        flags: flags.join(" "),
    };
    if let Some(system) = kept.as_mut() {
        system.refresh_cpu_usage();
        found.usage_percentage = system.global_cpu_usage();
        found.count = system.cpus().len().max(1);
        if let Some(first) = system.cpus().first() {
            found.model_name = first.brand().to_owned();
            found.vendor = first.vendor_id().to_owned();
        }
    }
    found
}

/// The machine's memory, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    pub(crate) available: u64,
    pub(crate) free: u64,
    pub(crate) used: u64,
}

pub(crate) fn memory() -> Memory {
    let Ok(mut system) = System::new() else { return Memory::default() };
    system.refresh_memory();
    Memory {
        total: system.total_memory(),
        available: system.available_memory(),
        free: system.free_memory(),
        used: system.used_memory(),
    }
}

/// A file system that holds something of ours, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct FileSystem {
    /// What it holds: `root`, `data`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) mountpoint: String,
    pub(crate) kind: String,
    pub(crate) total: u64,
    /// Free for us; the system keeps some for itself.
    pub(crate) available: u64,
    pub(crate) free: u64,
}

impl FileSystem {
    /// 0 to 100.
    pub(crate) fn usage_percentage(&self) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        (self.total - self.free) as f64 * 100.0 / self.total as f64
    }
}

/// The file systems of these paths; those that cannot be looked at are left out.
pub(crate) fn file_systems(paths: &[(&str, &Path)]) -> Vec<FileSystem> {
    let disks = Disks::new_with_refreshed_list().ok();
    let look = |(name, path): &(&str, &Path)| {
        let figures = nix::sys::statvfs::statvfs(*path).ok()?;
        let block = figures.fragment_size();
        let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let disk = disks.iter().flatten().filter(|disk| real.starts_with(disk.mount_point()));
        let disk = disk.max_by_key(|disk| disk.mount_point().as_os_str().len());
        Some(FileSystem {
            name: (*name).to_owned(),
            path: path.to_path_buf(),
            mountpoint: disk
                .map_or_else(|| "/".into(), |disk| disk.mount_point().display().to_string()),
            kind: disk.map_or_else(
                || "unknown".into(),
                |disk| disk.file_system().to_string_lossy().into_owned(),
            ),
            total: figures.blocks() * block,
            available: figures.blocks_available() * block,
            free: figures.blocks_free() * block,
        })
    };
    paths.iter().filter_map(look).collect()
}

/// This process as the kernel sees it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OwnProcess {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) open_descriptors: u64,
    pub(crate) start_time_seconds: f64,
}

/// What cannot be read is zero.
pub(crate) fn own_process() -> OwnProcess {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, the name, may hold blanks; it ends with the last bracket.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |index: usize| -> u64 {
        fields.get(index).and_then(|digits| digits.parse().ok()).unwrap_or(0)
    };
    let ticks = per_second(nix::unistd::SysconfVar::CLK_TCK).max(1.0);
    let page = per_second(nix::unistd::SysconfVar::PAGE_SIZE);
    let boot = System::boot_time().unwrap_or(0) as f64;
    OwnProcess {
        cpu_seconds: (field(11) + field(12)) as f64 / ticks,
        resident_bytes: field(21) * page as u64,
        threads: field(17),
        open_descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, |all| all.count() as u64),
        start_time_seconds: boot + field(19) as f64 / ticks,
    }
}

fn per_second(variable: nix::unistd::SysconfVar) -> f64 {
    nix::unistd::sysconf(variable).ok().flatten().unwrap_or(0) as f64
}

/// What the machine is, as labels of a Kubernetes node would say it.
pub(crate) fn labels() -> std::collections::BTreeMap<String, String> {
    let mut labels = std::collections::BTreeMap::new();
    let mut label = |key: &str, value: String| labels.insert(key.to_owned(), value);
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    label("kubernetes.io/arch", architecture.into());
    label("kubernetes.io/os", std::env::consts::OS.into());
    label("kubernetes.io/hostname", System::host_name().unwrap_or_else(|_| "appliance".into()));
    let kernel = System::kernel_version().unwrap_or_default();
    label("feature.node.kubernetes.io/kernel-version.full", kernel);
    label("feature.node.kubernetes.io/system-os_release.ID", System::distribution_id());
    for flag in processors().flags.split(' ').filter(|flag| !flag.is_empty()) {
        let name = flag.to_uppercase();
        label(&format!("feature.node.kubernetes.io/cpu-cpuid.{name}"), "true".into());
    }
    labels
}
