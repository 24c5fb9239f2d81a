/*
 * What libnftables refers to and a node does not have.
 *
 * iptables extensions: a node has no rules of iptables to translate.
 *
 * Name services: a static program cannot load NSS modules, and rules name
 * addresses and ports by number. Host and user names are refused; services
 * and protocols are shown as numbers, save the few protocols that rules use.
 *
 * Translations, and patterns in the names of included files.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <glob.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int xtables_init_all(void *globals, uint8_t nfproto) { (void)globals; (void)nfproto; return 0; }
void xtables_set_nfproto(uint8_t nfproto) { (void)nfproto; }
void *xtables_find_match(const char *name, int tryload, void **matches) { (void)name; (void)tryload; (void)matches; return NULL; }
void *xtables_find_target(const char *name, int tryload) { (void)name; (void)tryload; return NULL; }
void *xt_xlate_alloc(int size) { (void)size; return NULL; }
const char *xt_xlate_get(void *xl) { (void)xl; return ""; }
void xt_xlate_free(void *xl) { (void)xl; }

struct passwd *getpwnam(const char *name) { (void)name; return NULL; }
struct passwd *getpwuid(uid_t uid) { (void)uid; return NULL; }
struct group *getgrnam(const char *name) { (void)name; return NULL; }
struct group *getgrgid(gid_t gid) { (void)gid; return NULL; }

static const struct { const char *name; int number; } protocols[] = {
	{"icmp", IPPROTO_ICMP}, {"igmp", IPPROTO_IGMP}, {"tcp", IPPROTO_TCP},
	{"udp", IPPROTO_UDP}, {"gre", IPPROTO_GRE}, {"esp", IPPROTO_ESP},
	{"ah", IPPROTO_AH}, {"ipv6-icmp", IPPROTO_ICMPV6}, {"icmpv6", IPPROTO_ICMPV6},
	{"comp", IPPROTO_COMP}, {"dccp", IPPROTO_DCCP}, {"sctp", IPPROTO_SCTP},
	{"udplite", IPPROTO_UDPLITE},
};

/* Fills result with protocol i, whose name is placed in buf. */
static int found(size_t i, struct protoent *result, char *buf, size_t size, struct protoent **out)
{
	static char *no_aliases[] = {NULL};

	if (strlen(protocols[i].name) + 1 > size)
		return ERANGE;
	result->p_name = strcpy(buf, protocols[i].name);
	result->p_proto = protocols[i].number;
	result->p_aliases = no_aliases;
	*out = result;
	return 0;
}

int getprotobyname_r(const char *name, struct protoent *result, char *buf, size_t size, struct protoent **out)
{
	*out = NULL;
	for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
		if (strcmp(protocols[i].name, name) == 0)
			return found(i, result, buf, size, out);
	return ENOENT;
}

int getprotobynumber_r(int number, struct protoent *result, char *buf, size_t size, struct protoent **out)
{
	*out = NULL;
	for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
		if (protocols[i].number == number)
			return found(i, result, buf, size, out);
	return ENOENT;
}

int getservbyport_r(int port, const char *proto, struct servent *result, char *buf, size_t size, struct servent **out)
{
	(void)port; (void)proto; (void)result; (void)buf; (void)size;
	*out = NULL;
	return ENOENT;
}

/* Addresses and ports in numbers, whatever the flags. */
int getnameinfo(const struct sockaddr *addr, socklen_t len, char *host, socklen_t hostlen,
		char *serv, socklen_t servlen, int flags)
{
	const void *ip;
	in_port_t port;

	(void)flags;
	if (addr->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
		ip = &((const struct sockaddr_in *)addr)->sin_addr;
		port = ((const struct sockaddr_in *)addr)->sin_port;
	} else if (addr->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
		ip = &((const struct sockaddr_in6 *)addr)->sin6_addr;
		port = ((const struct sockaddr_in6 *)addr)->sin6_port;
	} else {
		return EAI_FAMILY;
	}
	if (host != NULL && hostlen > 0 && inet_ntop(addr->sa_family, ip, host, hostlen) == NULL)
		return EAI_OVERFLOW;
	if (serv != NULL && servlen > 0 && (socklen_t)snprintf(serv, servlen, "%u", ntohs(port)) >= servlen)
		return EAI_OVERFLOW;
	return 0;
}

/* One address in numbers, or one port in numbers. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	struct { struct addrinfo info; struct sockaddr_storage addr; } *r = calloc(1, sizeof *r);
	if (r == NULL)
		return EAI_MEMORY;
	struct sockaddr_in *v4 = (struct sockaddr_in *)&r->addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&r->addr;
	int family = hints != NULL ? hints->ai_family : AF_UNSPEC;
	unsigned long port = 0;

	if (service != NULL) {
		char *end;
		port = strtoul(service, &end, 10);
		if (*service == '\0' || *end != '\0' || port > 65535)
			goto unknown;
	}
	if (family != AF_INET6 && (node == NULL || inet_pton(AF_INET, node, &v4->sin_addr) == 1)) {
		r->info.ai_family = v4->sin_family = AF_INET;
		r->info.ai_addrlen = sizeof *v4;
		v4->sin_port = htons(port);
	} else if (family != AF_INET && (node == NULL || inet_pton(AF_INET6, node, &v6->sin6_addr) == 1)) {
		r->info.ai_family = v6->sin6_family = AF_INET6;
		r->info.ai_addrlen = sizeof *v6;
		v6->sin6_port = htons(port);
	} else {
		goto unknown;
	}
	if (hints != NULL) {
		r->info.ai_socktype = hints->ai_socktype;
		r->info.ai_protocol = hints->ai_protocol;
	}
	r->info.ai_addr = (struct sockaddr *)&r->addr;
	*out = &r->info;
	return 0;
unknown:
	free(r);
	return EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *list) { free(list); }

const char *gai_strerror(int code)
{
	return code == EAI_MEMORY ? "out of memory" : "not an address or port in numbers (names are not looked up)";
}

int glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *out)
{
	(void)pattern; (void)flags; (void)failed; (void)out;
	return GLOB_NOMATCH;
}

void globfree(glob_t *list) { (void)list; }

/* Not const: the standard says so. */
char *strerror(int code)
{
	const char *text = strerrordesc_np(code);
	return (char *)(text != NULL ? text : "unknown error");
}

void __assert_fail(const char *condition, const char *file, unsigned int line, const char *function)
{
	fprintf(stderr, "nft: %s:%u: %s: %s does not hold\n", file, line, function, condition);
	abort();
}
