// SPDX-License-Identifier: GPL-2.0
/*
 * Lua's snprintf().
 *
 * string.format() hands a script's own format to it, one conversion at a time:
 * %[-+ #0][width][.precision][ll]letter.  The kernel's vsnprintf() must not see
 * those: it gives a meaning to the letters behind %p, and warns about others.
 */
#include <linux/kernel.h>
#include <linux/string.h>
#include <linux/types.h>

int klua_sprintf(char *s, size_t size, const char *format, ...);
int klua_pointer_to_text(char *s, size_t size, const void *p);

/* Where the text goes.  `n` counts also what has no room any more. */
struct out {
	char *s;
	size_t size, n;
};

struct conversion {
	bool left, plus, space, alternate, zeros;
	int width;
	int precision;		/* -1: none is given */
	bool is_long;
	char letter;
};

static void put(struct out *out, char c, int times)
{
	for (; times > 0; times--, out->n++)
		if (out->n + 1 < out->size)
			out->s[out->n] = c;
}

static void put_text(struct out *out, const char *s, int n)
{
	while (n-- > 0)
		put(out, *s++, 1);
}

/* Text with its width. */
static void put_padded(struct out *out, const struct conversion *how, const char *s, int n)
{
	if (!how->left)
		put(out, ' ', how->width - n);
	put_text(out, s, n);
	if (how->left)
		put(out, ' ', how->width - n);
}

/* A number: blanks, sign or prefix, zeros, digits, blanks. */
static void put_number(struct out *out, const struct conversion *how,
		       unsigned long long n, bool negative)
{
	const char *digits = how->letter == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	bool is_signed = how->letter == 'd' || how->letter == 'i';
	int base = how->letter == 'o' ? 8 : how->letter == 'x' || how->letter == 'X' ? 16 : 10;
	char buf[24], prefix[2];
	int used = 0, prefixed = 0, zeros = 0, blanks;
	bool nothing = n == 0;

	while (n || (nothing && !used && how->precision)) {
		buf[sizeof(buf) - ++used] = digits[n % base];
		n /= base;
	}
	if (is_signed && (negative || how->plus || how->space))
		prefix[prefixed++] = negative ? '-' : how->plus ? '+' : ' ';
	if (how->alternate && base == 16 && !nothing) {
		prefix[prefixed++] = '0';
		prefix[prefixed++] = how->letter;
	}
	if (how->precision > used)
		zeros = how->precision - used;
	else if (how->precision < 0 && how->zeros && !how->left)
		zeros = max(how->width - used - prefixed, 0);
	if (how->alternate && base == 8 && !zeros && (!used || buf[sizeof(buf) - used] != '0'))
		zeros = 1;
	blanks = how->width - prefixed - zeros - used;
	if (!how->left)
		put(out, ' ', blanks);
	put_text(out, prefix, prefixed);
	put(out, '0', zeros);
	put_text(out, buf + sizeof(buf) - used, used);
	if (how->left)
		put(out, ' ', blanks);
}

static int number(const char **format)
{
	int n = 0;

	/* Lua lets two digits through, and this any number of them. */
	for (; **format >= '0' && **format <= '9'; (*format)++)
		n = min(n * 10 + (**format - '0'), 999);
	return n;
}

/* What stands between the % and the letter.  Returns what comes behind it. */
static const char *parse(const char *format, struct conversion *how)
{
	*how = (struct conversion){ .precision = -1 };
	for (;; format++) {
		switch (*format) {
		case '-':
			how->left = true;
			continue;
		case '+':
			how->plus = true;
			continue;
		case ' ':
			how->space = true;
			continue;
		case '#':
			how->alternate = true;
			continue;
		case '0':
			how->zeros = true;
			continue;
		}
		break;
	}
	how->width = number(&format);
	if (*format == '.') {
		format++;
		how->precision = number(&format);
	}
	for (; *format == 'l'; format++)
		how->is_long = true;
	how->letter = *format;
	return *format ? format + 1 : format;
}

/* As snprintf(): the length of the whole text, and a zero behind what has room. */
int klua_sprintf(char *s, size_t size, const char *format, ...)
{
	struct out out = { .s = s, .size = size };
	struct conversion how;
	char buf[24];
	const char *text;
	long long n;
	va_list args;

	va_start(args, format);
	while (*format) {
		if (*format != '%') {
			put(&out, *format++, 1);
			continue;
		}
		format = parse(format + 1, &how);
		switch (how.letter) {
		case 'd':
		case 'i':
			n = how.is_long ? va_arg(args, long long) : va_arg(args, int);
			put_number(&out, &how, n < 0 ? -(unsigned long long)n : n, n < 0);
			break;
		case 'u':
		case 'o':
		case 'x':
		case 'X':
			put_number(&out, &how, how.is_long ? va_arg(args, unsigned long long) :
				   va_arg(args, unsigned int), false);
			break;
		case 'c':
			buf[0] = va_arg(args, int);
			put_padded(&out, &how, buf, 1);
			break;
		case 's':
			text = va_arg(args, const char *);
			put_padded(&out, &how, text, how.precision < 0 ? strlen(text) :
				   strnlen(text, how.precision));
			break;
		case 'p':
			put_padded(&out, &how, buf, klua_pointer_to_text(buf, sizeof(buf),
				   va_arg(args, const void *)));
			break;
		case '%':
			put(&out, '%', 1);
			break;
		default:
			/* Lua lets no other letter through. */
			put(&out, '?', 1);
			goto end;
		}
	}
end:
	va_end(args);
	if (size)
		s[min(out.n, size - 1)] = '\0';
	return out.n;
}

/* An address as a name.  The kernel's %p is a hash of it, so none gets out. */
int klua_pointer_to_text(char *s, size_t size, const void *p)
{
	return scnprintf(s, size, "%p", p);
}
