/*
 * Which instructions may touch the segment: decoded with capstone, the address computed from the
 * registers as they are just before it is executed. A system call counts: it may change a lock or
 * the file.
 */
#include "trace.h"

#ifdef HAVE_CAPSTONE
#include <capstone/capstone.h>

#include <errno.h>
#include <sys/ptrace.h>

static csh engine;

static uint64_t reg_value(const struct user_regs_struct *regs, x86_reg reg, uint64_t next)
{
	switch (reg) {
	case X86_REG_RAX: case X86_REG_EAX: return regs->rax;
	case X86_REG_RBX: case X86_REG_EBX: return regs->rbx;
	case X86_REG_RCX: case X86_REG_ECX: return regs->rcx;
	case X86_REG_RDX: case X86_REG_EDX: return regs->rdx;
	case X86_REG_RSI: case X86_REG_ESI: return regs->rsi;
	case X86_REG_RDI: case X86_REG_EDI: return regs->rdi;
	case X86_REG_RBP: case X86_REG_EBP: return regs->rbp;
	case X86_REG_RSP: case X86_REG_ESP: return regs->rsp;
	case X86_REG_R8: case X86_REG_R8D: return regs->r8;
	case X86_REG_R9: case X86_REG_R9D: return regs->r9;
	case X86_REG_R10: case X86_REG_R10D: return regs->r10;
	case X86_REG_R11: case X86_REG_R11D: return regs->r11;
	case X86_REG_R12: case X86_REG_R12D: return regs->r12;
	case X86_REG_R13: case X86_REG_R13D: return regs->r13;
	case X86_REG_R14: case X86_REG_R14D: return regs->r14;
	case X86_REG_R15: case X86_REG_R15D: return regs->r15;
	case X86_REG_RIP: return next;
	default: return 0;
	}
}

static uint64_t address_of(const struct user_regs_struct *regs, const x86_op_mem *mem, uint64_t next)
{
	uint64_t address = (uint64_t)mem->disp + reg_value(regs, mem->base, next) +
			   reg_value(regs, mem->index, next) * (uint64_t)(uint32_t)mem->scale;

	if (mem->segment == X86_REG_FS)
		address += regs->fs_base;
	return address;
}

static bool inside(const struct trace *trace, uint64_t address, uint64_t size)
{
	for (uint32_t i = 0; i < trace->ranges; i++)
		if (address + size > trace->from[i] && address < trace->to[i])
			return true;
	return false;
}

bool access_is_known(void)
{
	if (!engine && (cs_open(CS_ARCH_X86, CS_MODE_64, &engine) != CS_ERR_OK ||
			cs_option(engine, CS_OPT_DETAIL, CS_OPT_ON) != CS_ERR_OK))
		engine = 0;
	return engine != 0;
}

bool access_shares(const struct trace *trace, pid_t pid, const struct user_regs_struct *regs)
{
	long words[2];
	cs_insn *insn;
	bool shares = false;

	if (!access_is_known())
		return true;
	for (unsigned i = 0; i < 2; i++) {
		errno = 0;
		words[i] = ptrace(PTRACE_PEEKTEXT, pid, (void *)(uintptr_t)(regs->rip + i * 8), NULL);
	}
	if (cs_disasm(engine, (const uint8_t *)words, sizeof(words), regs->rip, 1, &insn) != 1)
		return true;                /* what cannot be decoded counts */
	if (insn->id == X86_INS_SYSCALL)
		shares = true;
	else if (insn->id != X86_INS_LEA && insn->id != X86_INS_NOP)
		for (uint8_t i = 0; i < insn->detail->x86.op_count && !shares; i++) {
			const cs_x86_op *operand = &insn->detail->x86.operands[i];

			/* a vector operand of unknown size: 64 bytes */
			if (operand->type == X86_OP_MEM)
				shares = inside(trace,
						address_of(regs, &operand->mem, regs->rip + insn->size),
						operand->size ? operand->size : 64);
		}
	cs_free(insn, 1);
	return shares;
}

#else

bool access_is_known(void)
{
	return false;
}

bool access_shares(const struct trace *trace, pid_t pid, const struct user_regs_struct *regs)
{
	(void)trace, (void)pid, (void)regs;
	return true;
}

#endif
