/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

/* A doubly linked, intrusive, circular list. An unlinked entry points to itself or is zeroed. */

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next;
	struct list *prev;
};

#define LIST_INIT(head)                                                                                      \
	{                                                                                                    \
		&(head), &(head)                                                                             \
	}

static inline void list_init(struct list *head)
{
	head->next = head;
	head->prev = head;
}
static inline bool list_empty(const struct list *head)
{
	return head->next == head || head->next == NULL;
}
static inline void list_insert_(struct list *entry, struct list *prev, struct list *next)
{
	entry->prev = prev;
	entry->next = next;
	prev->next = entry;
	next->prev = entry;
}
static inline void list_append(struct list *head, struct list *entry)
{
	list_insert_(entry, head->prev, head);
}
static inline void list_prepend(struct list *head, struct list *entry)
{
	list_insert_(entry, head, head->next);
}
/* Safe on an entry that is not linked; leaves it unlinked. */
static inline void list_remove(struct list *entry)
{
	if (!entry->next)
		return;
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	list_init(entry);
}

#define list_entry(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
#define list_for_each_entry(var, head, member)                                                               \
	for (var = list_entry((head)->next, __typeof__(*var), member); &var->member != (head);               \
	     var = list_entry(var->member.next, __typeof__(*var), member))
/* The current entry may be removed and freed; no other may. */
#define list_for_each_entry_safe(var, tmp, head, member)                                                     \
	for (var = list_entry((head)->next, __typeof__(*var), member),                                       \
	    tmp = list_entry(var->member.next, __typeof__(*var), member);                                    \
	     &var->member != (head);                                                                         \
	     var = tmp, tmp = list_entry(var->member.next, __typeof__(*var), member))

#endif
