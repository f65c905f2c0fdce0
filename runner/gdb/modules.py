# SPDX-License-Identifier: MIT OR Apache-2.0
"""Tells gdb where the workshop's modules are, as soon as the kernel knows.

The kernel of the workshop has symbols, and no types: it is built without debug
information, which the kernel's own scripts for gdb would need.  So this asks for
nothing that takes a type.  At `module_finalize` the kernel has placed all sections of
a module, and two registers point to the ELF headers, whose layout is fixed.  At
`do_init_module` nothing of the module has run yet, and its text is as it will be.
"""

import os
import struct

import gdb

ALLOC = 2  # SHF_ALLOC: the section is in memory when the module runs
NAME_AT = 24  # struct module: a state, and a list_head, come before the name
NAME_LENGTH = 56  # MODULE_NAME_LEN

# Addresses of sections, by the names of modules and of sections.
placed = {}
# Where the text of what gdb knows is, by the names of modules.
known = {}


def memory(address, length):
    return bytes(gdb.selected_inferior().read_memory(address, length))


def string(address, length):
    return memory(address, length).split(b"\0")[0].decode("ascii", "replace")


def register(name):
    return int(gdb.selected_frame().read_register(name)) & (1 << 64) - 1


class Placed(gdb.Breakpoint):
    """module_finalize(hdr, sechdrs, module): notes where the sections are."""

    def __init__(self):
        super().__init__("*module_finalize", internal=True)

    def stop(self):
        header, sections, module = register("rdi"), register("rsi"), register("rdx")
        count, strings = struct.unpack("<HH", memory(header + 60, 4))
        table = [
            struct.unpack_from("<IIQQQQ", memory(sections + 64 * i, 64)) for i in range(count)
        ]
        names = header + table[strings][4]
        placed[string(module + NAME_AT, NAME_LENGTH)] = {
            string(names + name, 64): address
            for name, _, flags, address, _, size in table
            if flags & ALLOC and size
        }
        return False


class Loaded(gdb.Breakpoint):
    """do_init_module(module): reads the module's symbols for these places."""

    def __init__(self, folder):
        super().__init__("*do_init_module", internal=True)
        self.folder = folder

    def stop(self):
        name = string(register("rdi") + NAME_AT, NAME_LENGTH)
        file = os.path.join(self.folder, name + ".ko")
        sections = dict(placed.get(name, {}))
        text = sections.pop(".text", None)
        if text is None or not os.path.exists(file):
            return False
        if name in known:
            gdb.execute(f"remove-symbol-file -a {known[name]:#x}", to_string=True)
        others = " ".join(f"-s {at} {address:#x}" for at, address in sections.items())
        command = f"add-symbol-file {file} {text:#x} {others}"
        gdb.execute(command, to_string=True)
        known[name] = text
        gdb.write(f"workshop: {name} is at {text:#x}\n")
        return False


class Modules(gdb.Command):
    """workshop-modules FOLDER: follow the modules that are loaded, and find their files there."""

    def __init__(self):
        super().__init__("workshop-modules", gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME)

    def invoke(self, folder, _):
        Placed()
        Loaded(folder)


Modules()
