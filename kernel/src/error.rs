// SPDX-License-Identifier: MPL-2.0

//! Error numbers, as `errno(3)` lists them for x86-64.
//!
//! Operations of the kernel answer [`Result`]; the number crosses the syscall border negated. Parts with a richer idea of
//! what can go wrong (epoll's `AddError`, the ELF loader) have their own enum and convert to [`Errno`] in one `From`.

/// The answer of an operation that may fail with an error number.
pub type Result<T> = core::result::Result<T, Errno>;

macro_rules! errnos {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        /// An error number of Linux on x86-64. As wide as a count, so that `Result<usize>` is returned in two registers.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the names are those of errno.h")]
        #[allow(dead_code, reason = "the list is complete, whatever is answered today")]
        #[repr(isize)]
        pub enum Errno {
            $(#[doc = $text] $name = $number,)*
        }

        impl Errno {
            /// The symbolic name, as `strace(1)` prints it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The description, as `strerror(3)` gives it.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

errnos! {
    EPERM = 1, "Operation not permitted";
    ENOENT = 2, "No such file or directory";
    ESRCH = 3, "No such process";
    EINTR = 4, "Interrupted system call";
    EIO = 5, "Input/output error";
    ENXIO = 6, "No such device or address";
    E2BIG = 7, "Argument list too long";
    ENOEXEC = 8, "Exec format error";
    EBADF = 9, "Bad file descriptor";
    ECHILD = 10, "No child processes";
    EAGAIN = 11, "Resource temporarily unavailable";
    ENOMEM = 12, "Cannot allocate memory";
    EACCES = 13, "Permission denied";
    EFAULT = 14, "Bad address";
    ENOTBLK = 15, "Block device required";
    EBUSY = 16, "Device or resource busy";
    EEXIST = 17, "File exists";
    EXDEV = 18, "Invalid cross-device link";
    ENODEV = 19, "No such device";
    ENOTDIR = 20, "Not a directory";
    EISDIR = 21, "Is a directory";
    EINVAL = 22, "Invalid argument";
    ENFILE = 23, "Too many open files in system";
    EMFILE = 24, "Too many open files";
    ENOTTY = 25, "Inappropriate ioctl for device";
    ETXTBSY = 26, "Text file busy";
    EFBIG = 27, "File too large";
    ENOSPC = 28, "No space left on device";
    ESPIPE = 29, "Illegal seek";
    EROFS = 30, "Read-only file system";
    EMLINK = 31, "Too many links";
    EPIPE = 32, "Broken pipe";
    EDOM = 33, "Numerical argument out of domain";
    ERANGE = 34, "Numerical result out of range";
    EDEADLK = 35, "Resource deadlock avoided";
    ENAMETOOLONG = 36, "File name too long";
    ENOLCK = 37, "No locks available";
    ENOSYS = 38, "Function not implemented";
    ENOTEMPTY = 39, "Directory not empty";
    ELOOP = 40, "Too many levels of symbolic links";
    ENODATA = 61, "No data available";
    ETIME = 62, "Timer expired";
    ENOPKG = 65, "Package not installed";
    EPROTO = 71, "Protocol error";
    EBADMSG = 74, "Bad message";
    EOVERFLOW = 75, "Value too large for defined data type";
    ELIBBAD = 80, "Accessing a corrupted shared library";
    EUSERS = 87, "Too many users";
    ENOTSOCK = 88, "Socket operation on non-socket";
    EDESTADDRREQ = 89, "Destination address required";
    EMSGSIZE = 90, "Message too long";
    EPROTOTYPE = 91, "Protocol wrong type for socket";
    ENOPROTOOPT = 92, "Protocol not available";
    EPROTONOSUPPORT = 93, "Protocol not supported";
    ESOCKTNOSUPPORT = 94, "Socket type not supported";
    EOPNOTSUPP = 95, "Operation not supported";
    EPFNOSUPPORT = 96, "Protocol family not supported";
    EAFNOSUPPORT = 97, "Address family not supported by protocol";
    EADDRINUSE = 98, "Address already in use";
    EADDRNOTAVAIL = 99, "Cannot assign requested address";
    ENETDOWN = 100, "Network is down";
    ENETUNREACH = 101, "Network is unreachable";
    ECONNABORTED = 103, "Software caused connection abort";
    ECONNRESET = 104, "Connection reset by peer";
    ENOBUFS = 105, "No buffer space available";
    EISCONN = 106, "Transport endpoint is already connected";
    ENOTCONN = 107, "Transport endpoint is not connected";
    ESHUTDOWN = 108, "Cannot send after transport endpoint shutdown";
    ETOOMANYREFS = 109, "Too many references: cannot splice";
    ETIMEDOUT = 110, "Connection timed out";
    ECONNREFUSED = 111, "Connection refused";
    EHOSTUNREACH = 113, "No route to host";
    EALREADY = 114, "Operation already in progress";
    EINPROGRESS = 115, "Operation now in progress";
    EDQUOT = 122, "Disk quota exceeded";
    ECANCELED = 125, "Operation canceled";
    EOWNERDEAD = 130, "Owner died";
    // Never seen by programs: what an interrupted call answers inside the kernel. The signal code turns each into `EINTR`
    // or a restart, as `signal(7)` says; the numbers are those of Linux's `include/linux/errno.h`, which strace knows.
    ERESTARTSYS = 512, "Restart if the handler has SA_RESTART";
    ERESTARTNOINTR = 513, "Restart always";
    ERESTARTNOHAND = 514, "Restart unless a handler runs";
    ERESTART_RESTARTBLOCK = 516, "Restart by restart_syscall unless a handler runs";
}

impl Errno {
    /// Whether this is one of the numbers that only the signal code may see.
    pub fn is_restart(self) -> bool {
        self as isize >= Self::ERESTARTSYS as isize
    }
}

impl From<ostd::Error> for Errno {
    fn from(error: ostd::Error) -> Self {
        match error {
            ostd::Error::InvalidArgs => Errno::EINVAL,
            ostd::Error::NoMemory | ostd::Error::NotEnoughResources => Errno::ENOMEM,
            ostd::Error::PageFault | ostd::Error::AccessDenied => Errno::EFAULT,
            ostd::Error::IoError => Errno::EIO,
            ostd::Error::Overflow => Errno::EOVERFLOW,
        }
    }
}

/// A copy that stopped early: the error matters, the count went to whoever owned the cursor.
impl From<(ostd::Error, usize)> for Errno {
    fn from((error, _copied): (ostd::Error, usize)) -> Self {
        error.into()
    }
}
