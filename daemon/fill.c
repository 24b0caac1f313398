/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fill.c - see fill.h. One per worker, used by its thread only. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "daemon/bo.h"
#include "daemon/fill.h"
#include "daemon/session.h"

int fill_new(struct fill **ret)
{
	struct fill *f = aligned_alloc(4096, (sizeof(*f) + 4095) & ~(size_t)4095);

	if (!f)
		return -ENOMEM;
	memset(f, 0, sizeof(*f));
	*ret = f;
	return 0;
}

struct fill *fill_free(struct fill *f)
{
	free(f);
	return NULL;
}

static void want(struct fill *f, unsigned int i, uint32_t index, const struct page *p)
{
	f->want[i].kind = page_kind(p);
	f->want[i].size = page_size_stored(p);
	f->want[i].index = index;
	f->want[i].sum = p->sum;
	f->want[i].gen = page_gen(p);
	f->want[i].error = 0;
}

void fill_fetch(struct fill *f, unsigned int i, struct bo *bo, uint32_t index, const struct page *p)
{
	want(f, i, index, p);
	if (f->want[i].kind == KIND_POOL)
		f->want[i].error = pool_read(&bo->session->pool, page_loc(p), f->want[i].size,
					     f->records[i], sizeof(f->records[i]));
}

int fill_take(struct fill *f, unsigned int i, uint32_t index, const struct page *p,
	      const void *record, uint32_t size)
{
	want(f, i, index, p);
	if (size < sizeof(struct fls_record) || size > sizeof(f->records[i]))
		return f->want[i].error = -EBADMSG;
	memcpy(f->records[i], record, size);
	f->want[i].size = size;
	return 0;
}

static void fill_pattern(uint8_t *page, uint64_t value)
{
	uint64_t *w = (uint64_t *)(void *)page;

	for (unsigned int i = 0; i < FLS_PAGE / 8; i++)
		w[i] = value;
}

static int decode(const struct fls_record *r, uint32_t size, uint8_t *page)
{
	const char *payload = (const char *)(r + 1);

	if (r->len > size - sizeof(*r))
		return -EBADMSG;
	if (r->codec == FLS_CODEC_RAW && r->len == FLS_PAGE) {
		memcpy(page, payload, FLS_PAGE);
		return 0;
	}
	if (r->codec != FLS_CODEC_LZ4 ||
	    LZ4_decompress_safe(payload, (char *)page, r->len, FLS_PAGE) != (int)FLS_PAGE)
		return -EBADMSG;
	return 0;
}

int fill_make(struct fill *f, unsigned int i, uint64_t secret, uint32_t bo)
{
	const struct fls_record *r = (const struct fls_record *)(const void *)f->records[i];
	uint8_t *page = f->pages[i];
	XXH128_hash_t h;

	if (f->want[i].kind == KIND_ZERO || f->want[i].kind == KIND_NONE) {
		memset(page, 0, FLS_PAGE);
		return 0;
	}
	if (f->want[i].kind == KIND_SAME) {
		fill_pattern(page, f->want[i].sum);
		return 0;
	}
	if (f->want[i].error)
		return f->want[i].error;
	if (r->bo != bo || r->index != f->want[i].index || r->gen != f->want[i].gen ||
	    r->sum_lo != f->want[i].sum || decode(r, f->want[i].size, page))
		return -EBADMSG;
	h = XXH3_128bits_withSeed(page, FLS_PAGE, fls_seed(secret, bo, f->want[i].index, f->want[i].gen));
	return h.low64 == r->sum_lo && h.high64 == r->sum_hi ? 0 : -EBADMSG;
}
